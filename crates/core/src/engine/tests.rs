//! The engine's promises, on stages that do nothing but note what was called.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::*;
use crate::item::{Facts, Payload};
use crate::stage::{CheckCx, Stage, StageCx};
use crate::undo::{Chore, Undo};
use crate::{Class, register_chore, register_undo};
use crate::{Kind, Mismatch};

mod approach;
mod stands;
mod watch;

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Work,
    Refuse,
    Fail,
    /// Fails, and whether its work stands all the same.
    FailWith(Stands),
    Panic,
    Hang,
    /// Can't find out, with these words.
    Blind(&'static str),
    /// Refuses while it runs.
    TooLate,
    /// Leaves what another needs.
    Tell,
    /// Needs what another leaves.
    Need,
}

/// What is left and needed.
struct Known;

#[derive(Debug)]
struct Fake {
    name: String,
    act: Act,
    log: Log,
    undo_fails: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct FakeUndo {
    name: String,
    #[serde(skip)]
    log: Log,
    fails: bool,
    #[serde(skip)]
    stands: Option<Stands>,
}

/// Whether what a run is for has come about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    Yes,
    No,
    Unknown,
}

register_undo!("fake", FakeUndo);
register_chore!("fake", FakeUndo);

#[async_trait]
impl Undo for FakeUndo {
    fn describe(&self) -> String {
        format!("undo {}", self.name)
    }

    fn by_hand(&self) -> String {
        format!("rm {}", self.name)
    }

    async fn undo(&self) -> Result<()> {
        self.log.lock().unwrap().push(Undo::describe(self));
        if self.fails { Err(Error::failed("still there")) } else { Ok(()) }
    }

    fn decides(&self) -> bool {
        self.stands.is_some()
    }

    async fn stands(&self) -> Result<bool> {
        match self.stands {
            Some(Stands::Unknown) => Err(Error::failed("nobody answers")),
            stands => Ok(stands == Some(Stands::Yes)),
        }
    }
}

#[async_trait]
impl Chore for FakeUndo {
    fn describe(&self) -> String {
        format!("chore {}", self.name)
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.log.lock().unwrap().push(Chore::describe(self));
        Err(Error::failed("a chore never fails a run"))
    }
}

#[async_trait]
impl Stage for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        match self.act {
            Act::Blind(why) => Err(Error::failed(why)),
            Act::Need => cx.board().need::<Known>(|| Error::refused("nothing is known")).map(drop),
            Act::Tell => {
                cx.board().put(Known);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        match self.act {
            Act::Refuse => Err(Error::failed(format!("{} will not", self.name)).hint("ask nicely")),
            _ => Ok(()),
        }
    }

    async fn run(&self, _input: Item, cx: &StageCx) -> Result<Item> {
        let stands = if let Act::FailWith(stands) = self.act { Some(stands) } else { None };
        let undo = || FakeUndo { name: self.name.clone(), log: self.log.clone(), fails: self.undo_fails, stands };
        cx.arm(undo())?;
        cx.after_commit(undo())?;
        self.log.lock().unwrap().push(format!("run {}", self.name));
        match self.act {
            Act::Fail | Act::FailWith(_) => Err(Error::failed("no luck")),
            Act::TooLate => Err(Error::refused("no luck any more")),
            Act::Panic => panic!("out of luck"),
            Act::Hang => std::future::pending().await,
            _ => Ok(Item { payload: Payload::Standby, facts: Facts::default() }),
        }
    }
}

fn engine(acts: &[Act], log: &Log) -> Engine {
    let fake = |(index, act): (usize, &Act)| {
        let name = char::from(b'a' + index as u8).to_string();
        Arc::new(Fake { name, act: *act, log: log.clone(), undo_fails: false }) as Arc<dyn Stage>
    };
    let stages = acts.iter().enumerate().map(fake).collect();
    let options = Options { grace: Duration::from_millis(20), ..Options::default() };
    Engine::new(Pipeline::new("test", stages)).options(options)
}

fn said(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

#[tokio::test]
async fn a_run_that_ends_well_commits_and_then_does_its_chores() {
    let log = Log::default();
    let report = engine(&[Act::Work, Act::Work], &log).run().await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Done, 0));
    assert_eq!(said(&log), ["run a", "run b", "chore a", "chore b"]);
}

#[tokio::test]
async fn a_rehearsal_that_ends_well_is_taken_back_and_done() {
    let rehearse = async |acts: &[Act]| {
        let log = Log::default();
        let options = Options { rehearsal: true, ..Options::default() };
        let report = engine(acts, &log).options(options).run().await;
        (report.outcome, report.error, said(&log))
    };
    let (outcome, error, said) = rehearse(&[Act::Work, Act::Work]).await;
    assert_eq!((outcome, error), (Outcome::Done, None));
    assert_eq!(said, ["run a", "run b", "undo b", "undo a"], "and no chore is done");
    let (outcome, error, _) = rehearse(&[Act::Work, Act::Fail]).await;
    assert!(outcome == Outcome::Undone && error.is_some());
}

#[tokio::test]
async fn a_failure_or_a_panic_undoes_the_last_act_first() {
    for act in [Act::Fail, Act::Panic, Act::TooLate] {
        let log = Log::default();
        let report = engine(&[Act::Work, act, Act::Work], &log).run().await;
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1));
        assert_eq!(said(&log), ["run a", "run b", "undo b", "undo a"]);
        assert!(report.error.unwrap().contains("luck"));
    }
}

#[tokio::test]
async fn every_refusal_is_told_and_nothing_runs() {
    let log = Log::default();
    let report = engine(&[Act::Refuse, Act::Work, Act::Refuse], &log).run().await;
    assert_eq!((report.exit_code(), report.hint.as_deref()), (3, Some("ask nicely")));
    assert_eq!(report.error.unwrap(), "stage a: a will not; and stage c: c will not");
    assert!(said(&log).is_empty());
}

/// What a check of these stages refuses.
async fn refused(acts: &[Act]) -> Vec<String> {
    let refusals = engine(acts, &Log::default()).check().await.err().unwrap_or_default();
    refusals.iter().map(Error::chain).collect()
}

#[tokio::test]
async fn a_survey_that_fails_hides_no_other_refusal() {
    let all = refused(&[Act::Refuse, Act::Blind("no way to b"), Act::Refuse, Act::Blind("no way to d")]).await;
    assert_eq!(all, ["stage a: a will not", "stage b: no way to b", "stage c: c will not", "stage d: no way to d"]);
}

#[tokio::test]
async fn what_only_follows_from_another_refusal_is_not_told() {
    assert_eq!(
        refused(&[Act::Blind("no way"), Act::Need, Act::Refuse]).await,
        ["stage a: no way", "stage c: c will not"]
    );
    assert_eq!(refused(&[Act::Work, Act::Need]).await, ["stage b: nothing is known"]);
    assert_eq!(refused(&[Act::Tell, Act::Need]).await, [""; 0]);
}

#[tokio::test]
async fn what_several_stages_say_alike_is_told_once() {
    assert_eq!(refused(&[Act::Blind("no way"), Act::Work, Act::Blind("no way")]).await, ["stage a: no way"]);
}

#[tokio::test]
async fn a_cancelled_check_says_nothing_else() {
    let engine = engine(&[Act::Refuse, Act::Blind("no way")], &Log::default());
    engine.cancel_token().cancel();
    let told = engine.check().await.unwrap_err();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].class(), Class::Cancelled);
}

#[tokio::test]
async fn a_cancelled_stage_is_dropped_after_its_grace_and_undone() {
    let log = Log::default();
    let engine = engine(&[Act::Work, Act::Hang], &log);
    let (cancel, seen) = (engine.cancel_token(), log.clone());
    let watch = tokio::spawn(async move {
        while !said(&seen).contains(&"run b".to_owned()) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    let report = engine.run().await;
    watch.await.unwrap();
    assert_eq!(report.exit_code(), 130);
    assert_eq!(said(&log), ["run a", "run b", "undo b", "undo a"]);
}

#[tokio::test]
async fn what_cannot_be_undone_is_stuck_and_told_as_a_command() {
    let log = Log::default();
    let stage = |name: &str, act, undo_fails| {
        Arc::new(Fake { name: name.into(), act, log: log.clone(), undo_fails }) as Arc<dyn Stage>
    };
    let stages = vec![stage("a", Act::Work, false), stage("b", Act::Work, true), stage("c", Act::Fail, false)];
    let report = Engine::new(Pipeline::new("test", stages)).run().await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Stuck, 4));
    assert_eq!(report.by_hand, ["rm b"]);
    assert_eq!(said(&log)[3..], ["undo c", "undo b", "undo a"]);
}

#[tokio::test]
async fn a_second_cancel_gives_up_undoing() {
    let log = Log::default();
    let engine = engine(&[Act::Work, Act::Fail], &log);
    engine.stop_undo_token().cancel();
    let report = engine.run().await;
    assert_eq!(report.exit_code(), 4);
    assert_eq!(report.by_hand, ["rm b", "rm a"]);
}

#[tokio::test]
async fn an_error_of_a_check_is_a_refusal_whatever_it_was() {
    let refusals = engine(&[Act::Refuse], &Log::default()).check().await.unwrap_err();
    assert_eq!(refusals[0].class(), Class::Refused);
}

struct Flag(AtomicBool);

impl Observer for Flag {
    fn on(&self, event: &Event) {
        if matches!(event, Event::RunFinished(report) if report.outcome == Outcome::Done) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn the_last_event_carries_the_report() {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    engine(&[Act::Work], &Log::default()).observe(flag.clone()).run().await;
    assert!(flag.0.load(Ordering::SeqCst));
}

/// Its scout and its check wait for those of another one; its survey needs what its scout found.
#[derive(Debug)]
struct Scouting {
    meets: Arc<tokio::sync::Barrier>,
    log: Log,
}

#[async_trait]
impl Stage for Scouting {
    fn name(&self) -> &str {
        "scouting"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn scout(&self, cx: &CheckCx) {
        self.meets.wait().await;
        cx.board().put(Known);
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let known = cx.board().need::<Known>(|| Error::refused("the scout is not back"));
        self.log.lock().unwrap().push("surveyed".to_owned());
        known.map(drop)
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        self.meets.wait().await;
        self.log.lock().unwrap().push("checked".to_owned());
        Ok(())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        Ok(input.with(Payload::Standby))
    }
}

#[tokio::test]
async fn scouts_and_checks_go_side_by_side_and_a_stage_is_surveyed_between() {
    let (log, meets) = (Log::default(), Arc::new(tokio::sync::Barrier::new(2)));
    let scouting = || Arc::new(Scouting { meets: meets.clone(), log: log.clone() }) as Arc<dyn Stage>;
    let engine = Engine::new(Pipeline::new("test", vec![scouting(), scouting()]));
    let checked = tokio::time::timeout(Duration::from_secs(20), engine.check()).await;
    checked.expect("each waits for the other").unwrap();
    assert_eq!(said(&log), ["surveyed", "surveyed", "checked", "checked"]);
}
