//! What a run says and leaves that its branches ended differently.

use super::*;
use crate::engine::Misfit;
use crate::event::{Event, Observer};

/// Keeps the events as they are written out.
#[derive(Default)]
struct Kept(Mutex<Vec<serde_json::Value>>);

impl Observer for Kept {
    fn on(&self, event: &Event) {
        self.0.lock().unwrap().push(serde_json::to_value(event).unwrap());
    }
}

impl Kept {
    fn named(&self, name: &str) -> Vec<serde_json::Value> {
        self.0.lock().unwrap().iter().filter(|event| event["event"] == name).cloned().collect()
    }
}

/// Runs it and gives its events too.
async fn watched(mut setting: Setting) -> (RunReport, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    setting.engine = setting.engine.observe(kept.clone());
    (setting.run().await.0, kept)
}

#[tokio::test]
async fn each_branch_is_told_when_it_ends_and_in_the_report() {
    let (report, kept) = watched(setting(Policy::All, None, false, [Reads::All, Reads::FailsAfter(2)])).await;
    assert_eq!(report.error.unwrap(), "stage tee: branch two: stage take: no luck");
    let ended = kept.named("branch.finished");
    let last = kept.named("run.finished").remove(0);
    assert_eq!((last["outcome"].as_str(), last["branches"].as_array()), (Some("undone"), Some(&without_event(ended))));
    let two = last["branches"].as_array().unwrap().iter().find(|branch| branch["branch"] == "two").unwrap().clone();
    assert_eq!((two["outcome"].as_str(), two["error"].as_str()), (Some("undone"), Some("stage take: no luck")));
    let failed = kept.named("stage.failed");
    let whose: Vec<_> = failed.iter().map(|event| (event["stage"].as_str().unwrap(), &event["index"])).collect();
    assert_eq!(whose, [("two: take", &1.into()), ("tee", &1.into())]);
}

fn without_event(events: Vec<serde_json::Value>) -> Vec<serde_json::Value> {
    let strip = |mut event: serde_json::Value| {
        event.as_object_mut().unwrap().remove("event");
        event
    };
    events.into_iter().map(strip).collect()
}

/// Cancels when a branch has ended.
struct Impatient(CancellationToken);

impl Observer for Impatient {
    fn on(&self, event: &Event) {
        if matches!(event, Event::BranchFinished(_)) {
            self.0.cancel();
        }
    }
}

#[tokio::test]
async fn a_cancel_leaves_what_a_branch_has_committed_and_says_so() {
    for policy in [Policy::All, Policy::Any] {
        let mut setting = setting(policy, None, false, [Reads::All, Reads::StallsAfter(50)]);
        let impatient = Arc::new(Impatient(setting.engine.cancel_token()));
        setting.engine = setting.engine.observe(impatient);
        let (report, said) = setting.run().await;
        assert_eq!((report.outcome, report.exit_code(), report.cancelled), (Outcome::Undone, 1, false));
        assert_eq!(outcomes(&report), [("one", Outcome::Done), ("two", Outcome::Undone)]);
        assert!(report.error.as_ref().unwrap().ends_with("; done before that, and stays: one"), "{report:?}");
        assert_eq!(said, ["for two", "one took 50", "two's own"]);
    }
}

/// Says which branches are at work when the streams come and when all have ended.
#[derive(Debug)]
struct Asks(Log);

impl Asks {
    fn say(log: &Log, cx: &StageCx) {
        let at_work = ["one", "two", "none"].into_iter().filter(|branch| cx.is_at_work(branch));
        log.lock().unwrap().push(format!("at work: {:?}", at_work.collect::<Vec<_>>()));
    }
}

#[async_trait]
impl Stage for Asks {
    fn name(&self) -> &str {
        "asks"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        Self::say(&self.0, cx);
        let (log, later) = (self.0.clone(), cx.clone());
        cx.watch(|over| async move {
            over.cancelled().await;
            Self::say(&log, &later);
            Ok(())
        });
        Ok(input)
    }
}

#[tokio::test]
async fn a_branch_is_at_work_until_it_has_ended_well_or_not() {
    let (log, stalled) = (Log::default(), CancellationToken::new());
    let branch = |name: &str, reads| {
        let take = Take { name: name.into(), reads, log: log.clone(), stalled: stalled.clone() };
        Branch { name: name.into(), stages: vec![Arc::new(take) as Arc<dyn Stage>] }
    };
    let branches = vec![branch("one", Reads::All), branch("two", Reads::FailsAfter(1))];
    let tee = Tee { branches, policy: Policy::Any, slack: Slack { buffer: 1 << 20, patience: None } };
    let give = Give { streams: 1, chunks: 3, fails: false, pulled: Arc::default(), log: log.clone() };
    let stages: Vec<Arc<dyn Stage>> = vec![Arc::new(give), Arc::new(Asks(log.clone())), Arc::new(tee)];
    assert_eq!(Engine::new(Pipeline::new("test", stages)).run().await.exit_code(), 0);
    let said: Vec<_> = log.lock().unwrap().iter().filter(|line| line.starts_with("at work")).cloned().collect();
    assert_eq!(said, ["at work: [\"one\", \"two\"]", "at work: []"]);
}

/// Nothing is taken back under the hands of a stage that still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_works_for_a_branch_is_gone_before_anything_is_taken_back() {
    let (log, stalled) = (Log::default(), CancellationToken::new());
    let take =
        |name: &str| Take { name: name.into(), reads: Reads::Busily, log: log.clone(), stalled: stalled.clone() };
    let branch = |name: &str| Branch { name: name.into(), stages: vec![Arc::new(take(name)) as Arc<dyn Stage>] };
    let branches = vec![branch("one"), branch("two")];
    let tee = Tee { branches, policy: Policy::All, slack: Slack { buffer: 1 << 20, patience: None } };
    let limited =
        crate::stage::AroundStage(crate::stage::Limited { inner: Arc::new(tee), limit: Duration::from_millis(120) });
    let give = Give { streams: 1, chunks: 1, fails: false, pulled: Arc::default(), log: log.clone() };
    let stages: Vec<Arc<dyn Stage>> = vec![Arc::new(give), Arc::new(limited)];
    let report = Engine::new(Pipeline::new("test", stages)).run().await;
    assert!(report.error.as_ref().unwrap().contains("was not done within"), "{report:?}");
    let said = log.lock().unwrap().clone();
    let taken_back = said.iter().position(|line| line.ends_with("'s own")).unwrap();
    assert!(said[..taken_back].contains(&"still at work".to_owned()), "{said:?}");
    assert!(!said[taken_back..].contains(&"still at work".to_owned()), "{said:?}");
}

#[test]
fn one_that_is_made_in_code_is_judged_as_one_from_a_file() {
    let branch = |name: &str| Branch { name: name.into(), stages: vec![take(name)] };
    let made = |names: &[&str]| crate::stages::Tee::new(names.iter().map(|name| branch(name)).collect()).stage();
    assert_eq!(misfits(vec![made(&["one", "two"]).unwrap()]), []);
    let said = |names: &[&str]| made(names).unwrap_err().to_string();
    assert_eq!(said(&["one"]), "a tee has two branches or more");
    assert_eq!(said(&["one", "one"]), "two branches are called `one`");
    assert_eq!(said(&["one", "T wo"]), "a branch is called by up to 20 small letters, digits and `-`, not `T wo`");
    let none = vec![branch("one"), Branch { name: "two".into(), stages: vec![] }];
    assert_eq!(crate::stages::Tee::new(none).stage().unwrap_err().to_string(), "the branch two has no stage");
    let small = crate::stages::Tee::new(vec![branch("one"), branch("two")]).buffer(1);
    assert_eq!(small.stage().unwrap_err().to_string(), "a branch may lag by 1 MiB to 4 GiB");
}

#[tokio::test]
async fn a_run_without_branches_says_nothing_of_them() {
    let report = serde_json::to_value(RunReport::new("1", "test")).unwrap();
    assert!(report.get("branches").is_none(), "{report}");
}

#[tokio::test]
async fn what_is_left_for_afterwards_waits_while_a_branch_is_not_done() {
    let (report, kept) = watched(setting(Policy::Any, None, false, [Reads::Panics, Reads::All])).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Done, 0));
    let warned = kept.named("warning");
    assert!(warned[0]["text"].as_str().unwrap().ends_with("afterwards"), "{warned:?}");
}

#[tokio::test]
async fn a_branch_that_is_stuck_is_not_hidden_by_one_that_is_done() {
    for policy in [Policy::All, Policy::Any] {
        let (report, said) = setting(policy, None, false, [Reads::All, Reads::Sticks]).run().await;
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Stuck, 4), "{policy:?}");
        assert_eq!(report.by_hand, ["two's own"]);
        assert!(report.error.as_ref().unwrap().contains("branch two: stage take: stuck in the mud"), "{report:?}");
        assert_eq!(outcomes(&report), [("one", Outcome::Done), ("two", Outcome::Stuck)]);
        assert_eq!(said, ["for two", "one took 50", "two's own"]);
    }
}

#[tokio::test]
async fn a_branch_that_refuses_keeps_every_other_from_beginning() {
    let setting = setting(Policy::Any, None, false, [Reads::Refuses, Reads::Refuses]);
    let (report, said) = setting.run().await;
    assert_eq!((report.exit_code(), report.hint.as_deref()), (3, Some("ask nicely")));
    assert_eq!(report.error.unwrap(), "branch one: stage take: one will not; and branch two: stage take: two will not");
    assert_eq!((said.len(), setting.pulled.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_branch_that_is_slow_is_waited_for_and_misses_nothing() {
    let patience = Some(Duration::from_secs(20));
    let (report, said) = setting(Policy::All, patience, false, [Reads::All, Reads::Slowly]).run().await;
    assert_eq!((report.exit_code(), report.branches.len()), (0, 2));
    assert_eq!(said, ["afterwards", "one took 50", "two took 50"]);
}

#[tokio::test]
async fn a_branch_that_dies_in_one_stream_spoils_no_later_one_for_the_other() {
    let setting = with_streams(3, Policy::Any, None, false, [Reads::FailsAfter(40), Reads::All]);
    let (report, said) = setting.run().await;
    assert_eq!((report.exit_code(), setting.pulled.load(Ordering::SeqCst)), (0, 3 * 51));
    assert_eq!(said, ["for one", "one's own", "two took 150"]);
}

#[tokio::test]
async fn nobody_is_read_for_when_every_branch_is_gone() {
    let fails = Reads::FailsAfter(1);
    let setting = with_streams(3, Policy::Any, None, false, [fails, fails]);
    assert_eq!(setting.run().await.0.exit_code(), 1);
    assert!(setting.pulled.load(Ordering::SeqCst) <= 8);
}

fn take(name: &str) -> Arc<dyn Stage> {
    let (log, stalled) = (Log::default(), CancellationToken::new());
    Arc::new(Take { name: name.into(), reads: Reads::All, log, stalled })
}

fn tee(branches: [(&str, Vec<Arc<dyn Stage>>); 2]) -> Arc<dyn Stage> {
    let branches = branches.into_iter().map(|(name, stages)| Branch { name: name.into(), stages }).collect();
    Arc::new(Tee { branches, policy: Policy::All, slack: Slack { buffer: 1 << 20, patience: None } })
}

fn misfits(stages: Vec<Arc<dyn Stage>>) -> Vec<Misfit> {
    let give = Give { streams: 1, chunks: 1, fails: false, pulled: Arc::default(), log: Log::default() };
    let give: Arc<dyn Stage> = Arc::new(give);
    Pipeline::new("test", [vec![give], stages].concat()).fold().err().unwrap_or_default()
}

#[test]
fn branches_are_the_end_and_share_nothing() {
    let good = || tee([("one", vec![take("a")]), ("two", vec![take("b")])]);
    assert_eq!(misfits(vec![good()]), []);
    let Misfit::Kind { index: 2, mismatch } = misfits(vec![good(), take("c")]).remove(0) else { panic!() };
    assert_eq!(mismatch.inside.unwrap(), "no stage can follow tee, whose branches end by themselves");
    let shared = tee([("one", vec![take("a")]), ("two", vec![take("a")])]);
    assert!(matches!(misfits(vec![shared])[..], [Misfit::Claim { indexes: (1, 1), .. }]));
    let nested = tee([("one", vec![good()]), ("two", vec![take("c")])]);
    let Misfit::Kind { index: 1, mismatch } = misfits(vec![nested]).remove(0) else { panic!() };
    assert_eq!(mismatch.inside.unwrap(), "the branch one parts again");
}
