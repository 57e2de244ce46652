//! Branches that failed, while what they are for may stand all the same.

use super::*;

/// Whether what the branch is for stands; `None` where nobody can tell.
#[derive(Debug, Serialize, Deserialize)]
struct Decides(Option<bool>);

register_undo!("decides", Decides);

#[async_trait]
impl Undo for Decides {
    fn describe(&self) -> String {
        "see whether it stands".into()
    }

    fn by_hand(&self) -> String {
        "look whether it stands".into()
    }

    async fn undo(&self) -> Result<()> {
        Ok(())
    }

    fn decides(&self) -> bool {
        true
    }

    async fn stands(&self) -> Result<bool> {
        self.0.ok_or_else(|| Error::failed("nobody answers"))
    }
}

/// Publishes what it takes, and fails.
#[derive(Debug)]
struct Publishes(Option<bool>);

#[async_trait]
impl Stage for Publishes {
    fn name(&self) -> &str {
        "publishes"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, _input: Item, cx: &StageCx) -> Result<Item> {
        cx.arm(Decides(self.0))?;
        Err(Error::failed("the answer was lost"))
    }
}

async fn run(stands: Option<bool>) -> (RunReport, Vec<String>) {
    let log = Log::default();
    let branches = vec![Branch { name: "one".into(), stages: vec![Arc::new(Publishes(stands)) as Arc<dyn Stage>] }];
    let tee = Tee { branches, policy: Policy::All, slack: Slack { buffer: 1 << 20, patience: None } };
    let give = Give { streams: 1, chunks: 1, fails: false, pulled: Arc::default(), log: log.clone() };
    let stages: Vec<Arc<dyn Stage>> = vec![Arc::new(give), Arc::new(tee)];
    let report = Engine::new(Pipeline::new("test", stages)).run().await;
    let said = log.lock().unwrap().clone();
    (report, said)
}

#[tokio::test]
async fn what_a_branch_may_stand_on_is_not_taken_back() {
    let (report, said) = run(None).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Stuck, 4), "{report:?}");
    assert_eq!(said, [""; 0], "nothing was taken back");
    assert!(report.by_hand.contains(&"for all".to_owned()), "{report:?}");
    let (report, mut said) = run(Some(false)).await;
    said.sort();
    assert_eq!((report.exit_code(), said), (1, vec!["for all".to_owned(), "for one".to_owned()]));
}

#[tokio::test]
async fn a_branch_whose_work_stands_is_done_and_so_is_its_run() {
    let (report, said) = run(Some(true)).await;
    assert_eq!((report.outcome, report.exit_code(), report.error), (Outcome::Done, 0, None));
    assert_eq!(report.branches[0].outcome, Outcome::Done);
    assert_eq!(said, ["afterwards"]);
}
