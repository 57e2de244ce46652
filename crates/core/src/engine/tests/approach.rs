//! Rounds before a run.

use std::collections::VecDeque;

use super::*;
use crate::item::Outlook;
use crate::{Format, StreamKind};

const FORMAT: Format = Format::new("test");
const MIB: u64 = 1 << 20;

/// Sends, run after run, what is next in the list, and says so beforehand if it may.
#[derive(Debug)]
struct Send {
    sizes: Arc<Mutex<VecDeque<u64>>>,
    knows: bool,
    log: Log,
}

/// Takes what is sent.
#[derive(Debug)]
struct Take;

#[async_trait]
impl Stage for Send {
    fn name(&self) -> &str {
        "send"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Stream(StreamKind { format: FORMAT, encodings: vec![] }))
    }

    fn approaches(&self) -> bool {
        true
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let next = self.sizes.lock().unwrap().front().copied();
        cx.board().put(Outlook { whole: self.log.lock().unwrap().is_empty(), bytes: next.filter(|_| self.knows) });
        Ok(())
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let bytes = self.sizes.lock().unwrap().pop_front().unwrap_or_default();
        let _ = cx.arm(FakeUndo {
            name: format!("{} MiB", bytes / MIB),
            log: self.log.clone(),
            fails: false,
            stands: None,
        });
        cx.meters().stream.add(bytes);
        let word = if cx.approaching() { "round" } else { "run" };
        self.log.lock().unwrap().push(format!("{word} {}", bytes / MIB));
        Ok(input.with(Payload::Streams(vec![])))
    }
}

#[async_trait]
impl Stage for Take {
    fn name(&self) -> &str {
        "take"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Dataset(FORMAT))
    }

    fn approaches(&self) -> bool {
        true
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        Ok(input.with(Payload::Standby))
    }
}

async fn approached(sizes: &[u64], knows: bool, approach: Option<Approach>, last: Act) -> (RunReport, Vec<String>) {
    let log = Log::default();
    let sizes = Arc::new(Mutex::new(sizes.iter().map(|mib| mib * MIB).collect()));
    let last = Fake { name: "switch".into(), act: last, log: log.clone(), undo_fails: false };
    let stages: Vec<Arc<dyn Stage>> =
        vec![Arc::new(Send { sizes, knows, log: log.clone() }), Arc::new(Take), Arc::new(last)];
    let report = Engine::new(Pipeline::new("test", stages).approach(approach)).run().await;
    let said = said(&log).into_iter().filter(|said| !said.starts_with("chore")).collect();
    (report, said)
}

fn until(mib: u64, blindly: bool) -> Option<Approach> {
    Some(Approach { until: mib * MIB, rounds: 5, blindly })
}

#[tokio::test]
async fn rounds_go_on_until_the_next_increment_is_small_and_end_before_the_switch() {
    let (report, said) = approached(&[9000, 800, 90, 9], true, until(100, false), Act::Work).await;
    assert_eq!(said, ["round 9000", "round 800", "run 90", "run switch"]);
    assert_eq!(report.stream_bytes, 90 * MIB);
    let sizes: Vec<_> = report.rounds.iter().map(|round| round.stream_bytes / MIB).collect();
    assert_eq!(sizes, [9000, 800]);
    assert!(report.rounds.iter().all(|round| round.run != report.run));
}

#[tokio::test]
async fn what_is_small_or_not_known_comes_in_no_rounds_unless_they_are_asked_for() {
    assert_eq!(approached(&[90, 9], true, until(100, true), Act::Work).await.1, ["run 90", "run switch"]);
    assert_eq!(approached(&[9000], false, until(100, false), Act::Work).await.1, ["run 9000", "run switch"]);
    assert_eq!(approached(&[9000], true, None, Act::Work).await.1, ["run 9000", "run switch"]);
    let (_, said) = approached(&[9000, 800, 90, 60], false, until(100, true), Act::Work).await;
    assert_eq!(said, ["round 9000", "round 800", "round 90", "run 60", "run switch"]);
}

#[tokio::test]
async fn rounds_end_where_increments_do_not_shrink_or_there_were_enough() {
    let (_, said) = approached(&[9000, 800, 790, 780], true, until(100, false), Act::Work).await;
    assert_eq!(said, ["round 9000", "round 800", "round 790", "run 780", "run switch"]);
    let approach = Some(Approach { until: MIB, rounds: 1, blindly: false });
    let (_, said) = approached(&[9000, 800], true, approach, Act::Work).await;
    assert_eq!(said, ["round 9000", "run 800", "run switch"]);
}

#[tokio::test]
async fn a_failure_after_the_rounds_leaves_what_they_brought() {
    let (report, said) = approached(&[9000, 90], true, until(100, false), Act::Fail).await;
    assert_eq!((report.outcome, report.exit_code(), report.rounds.len()), (Outcome::Undone, 1, 1));
    assert_eq!(said, ["round 9000", "run 90", "run switch", "undo switch", "undo 90 MiB"]);
}

#[tokio::test]
async fn a_cancel_after_the_rounds_says_what_stays() {
    let log = Log::default();
    let sizes = Arc::new(Mutex::new([9000, 90].map(|mib| mib * MIB).into()));
    let last = Fake { name: "switch".into(), act: Act::Hang, log: log.clone(), undo_fails: false };
    let stages: Vec<Arc<dyn Stage>> =
        vec![Arc::new(Send { sizes, knows: true, log: log.clone() }), Arc::new(Take), Arc::new(last)];
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let engine = Engine::new(Pipeline::new("test", stages).approach(until(100, false))).options(options);
    let (cancel, seen) = (engine.cancel_token(), log.clone());
    let watch = tokio::spawn(async move {
        while !said(&seen).contains(&"run switch".to_owned()) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    let report = engine.run().await;
    watch.await.unwrap();
    assert_eq!((report.outcome, report.exit_code(), report.rounds.len()), (Outcome::Undone, 130, 1));
    let told = format!(
        "stage switch: cancelled; done before that, and stays: what the round {} brought",
        report.rounds[0].run
    );
    assert_eq!(report.error.unwrap(), told);
}

#[test]
fn only_stages_that_can_take_part_are_run_in_rounds() {
    let pipeline = |stages| Pipeline::new("test", stages);
    let log = Log::default();
    let fake = || Arc::new(Fake { name: "a".into(), act: Act::Work, log: Log::default(), undo_fails: false });
    let send = || Arc::new(Send { sizes: Arc::default(), knows: true, log: log.clone() });
    assert_eq!(pipeline(vec![send() as Arc<dyn Stage>, Arc::new(Take), fake()]).receiver(), Some(1));
    assert_eq!(pipeline(vec![fake() as Arc<dyn Stage>, send(), Arc::new(Take)]).receiver(), None);
    assert_eq!(pipeline(vec![fake() as Arc<dyn Stage>]).receiver(), None);
}
