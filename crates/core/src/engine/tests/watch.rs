//! Time limits, stalls and watchers, on a clock that is moved on by hand.

use bytes::Bytes;

use super::*;
use crate::item::{SnapshotPart, StreamHeader, StreamItem};
use crate::stream::{ByteStream, Metered};
use crate::{Format, StreamKind};

const FORMAT: Format = Format::new("test");
const MINUTE: Duration = Duration::from_secs(60);

/// Gives one chunk after each pause, for ever.
struct Dripping(Duration, u32);

#[async_trait]
impl ByteStream for Dripping {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        tokio::time::sleep(self.0).await;
        let Some(left) = self.1.checked_sub(1) else { return Ok(None) };
        self.1 = left;
        Ok(Some(Bytes::from_static(b"drop")))
    }
}

/// Gives a stream of so many chunks, with a pause before each.
#[derive(Debug)]
struct Give(Duration, u32);

#[async_trait]
impl Stage for Give {
    fn name(&self) -> &str {
        "give"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Stream(StreamKind { format: FORMAT, encodings: vec![] }))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let part = SnapshotPart {
            dataset: "data".into(),
            mountpoint: "/data".into(),
            snapshot: "now".into(),
            guid: "1".into(),
            main: true,
        };
        let header = StreamHeader::new(part, FORMAT);
        let stream = Metered::boxed(Box::new(Dripping(self.0, self.1)), Arc::clone(&cx.meters().stream));
        Ok(input.with(Payload::Streams(vec![StreamItem::here(header, stream)])))
    }
}

/// Gives a stream in front of which nobody counts, as one is that something between the ends holds back.
#[derive(Debug)]
struct HeldBack;

#[async_trait]
impl Stage for HeldBack {
    fn name(&self) -> &str {
        "held back"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        let Payload::Streams(mut streams) = input.payload else { panic!("no stream") };
        let header = streams.remove(0).header;
        let held = Box::new(Dripping(60 * MINUTE, 9));
        Ok(Item { payload: Payload::Streams(vec![StreamItem::here(header, held)]), facts: input.facts })
    }
}

/// Takes the stream, with a pause after each chunk; works on for a while without it.
#[derive(Debug, Default)]
struct Take {
    pause: Duration,
    works: Duration,
}

#[async_trait]
impl Stage for Take {
    fn name(&self) -> &str {
        "take"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { panic!("no stream") };
        for stream in streams {
            let _flowing = cx.flowing();
            let mut stream = Metered::boxed(stream.open(None).await?, Arc::clone(&cx.meters().pulled));
            while stream.next().await?.is_some() {
                let _waiting = cx.meters().sink.wait();
                tokio::time::sleep(self.pause).await;
            }
        }
        tokio::time::sleep(self.works).await;
        Ok(Item { payload: Payload::Standby, facts: input.facts })
    }
}

/// Watches, and fails after a while; works for longer.
#[derive(Debug)]
struct Watched {
    fails: Option<&'static str>,
    over: Log,
}

#[async_trait]
impl Stage for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let (fails, log) = (self.fails, self.over.clone());
        let _ = cx.arm(FakeUndo { name: "it".into(), log: log.clone(), fails: false, stands: None });
        cx.watch(|over| async move {
            tokio::select! {
                () = over.cancelled() => log.lock().unwrap().push("over".to_owned()),
                () = tokio::time::sleep(MINUTE) => match fails {
                    Some("panic") => panic!("out of luck"),
                    Some(why) => return Err(Error::failed(why).hint("mend it")),
                    None => over.cancelled().await,
                },
            }
            Ok(())
        });
        tokio::time::sleep(MINUTE / 2).await;
        Ok(input.with(Payload::Standby))
    }
}

fn limited(inner: impl Stage + 'static, limit: Duration) -> Arc<dyn Stage> {
    Arc::new(crate::stage::AroundStage(crate::stage::Limited { inner: Arc::new(inner), limit }))
}

async fn run(stages: Vec<Arc<dyn Stage>>, stall: Option<Duration>) -> RunReport {
    Engine::new(Pipeline::new("test", stages).stall(stall)).run().await
}

fn error(report: &RunReport) -> &str {
    report.error.as_deref().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_takes_too_long_is_dropped_and_undone() {
    let log = Log::default();
    let hangs = Fake { name: "a".into(), act: Act::Hang, log: log.clone(), undo_fails: false };
    let report = run(vec![limited(hangs, MINUTE)], None).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1));
    assert_eq!(error(&report), "stage a: a was not done within 1m");
    assert!(report.hint.unwrap().contains("`timeout` of the stage a"));
    assert_eq!(said(&log), ["run a", "undo a"]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_stage_that_gives_streams_holds_until_they_are_taken() {
    let stages = |taken: u32, works| -> Vec<Arc<dyn Stage>> {
        vec![limited(Give(MINUTE, taken), 5 * MINUTE), Arc::new(Take { works, ..Take::default() })]
    };
    let report = run(stages(9, Duration::ZERO), None).await;
    assert_eq!(error(&report), "stage take: give was not done within 5m");
    let report = run([stages(2, Duration::ZERO), vec![limited(Hour, 2 * 60 * MINUTE)]].concat(), None).await;
    assert_eq!(report.outcome, Outcome::Done, "the limit is over with the streams: {report:?}");
}

/// Works for an hour.
#[derive(Debug)]
struct Hour;

#[async_trait]
impl Stage for Hour {
    fn name(&self) -> &str {
        "hour"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        tokio::time::sleep(60 * MINUTE).await;
        Ok(input)
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_stand_still_fail_the_run_named_by_who_is_waited_for() {
    let stalls = |give, take| async move { run(vec![Arc::new(give), Arc::new(take)], Some(10 * MINUTE)).await };
    let pausing = |pause| Take { pause, ..Take::default() };
    let report = stalls(Give(60 * MINUTE, 9), Take::default()).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1));
    assert_eq!(error(&report), "stage take: no byte has moved for 10m: give gives none");
    assert!(report.hint.unwrap().contains("`stall"));
    let report = stalls(Give(Duration::ZERO, 9), pausing(60 * MINUTE)).await;
    assert_eq!(error(&report), "stage take: no byte has moved for 10m: take takes none");
    let held: Vec<Arc<dyn Stage>> = vec![Arc::new(Give(MINUTE, 9)), Arc::new(HeldBack), Arc::new(pausing(MINUTE))];
    let report = run(held, Some(10 * MINUTE)).await;
    assert_eq!(error(&report), "stage take: no byte has moved for 10m: what is between give and take gives none");
}

#[tokio::test(start_paused = true)]
async fn streams_that_move_slowly_do_not_stall_and_nor_does_other_work() {
    let slow = || -> Vec<Arc<dyn Stage>> {
        vec![Arc::new(Give(9 * MINUTE, 9)), Arc::new(Take { works: 60 * MINUTE, ..Take::default() }), Arc::new(Hour)]
    };
    assert_eq!(run(slow(), Some(10 * MINUTE)).await.outcome, Outcome::Done);
    assert_eq!(run(slow(), Some(5 * MINUTE)).await.outcome, Outcome::Undone);
    assert_eq!(run(slow(), None).await.outcome, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_fails_or_panics_fails_the_run_in_whatever_stage_it_is() {
    for (fails, told) in [
        ("it shrinks", "stage hour: watching for watched: it shrinks"),
        ("panic", "stage hour: watching for watched: a watcher broke down"),
    ] {
        let log = Log::default();
        let watched = Watched { fails: Some(fails), over: log.clone() };
        let report = run(vec![Arc::new(watched), Arc::new(Hour)], None).await;
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1));
        assert!(error(&report).starts_with(told), "{report:?}");
        assert!(fails == "panic" || report.hint.as_deref() == Some("mend it"));
        assert_eq!(said(&log), ["undo it"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_ends_with_the_run_before_anything_is_taken_back() {
    let log = Log::default();
    let watched = Watched { fails: None, over: log.clone() };
    assert_eq!(run(vec![Arc::new(watched)], None).await.outcome, Outcome::Done);
    assert_eq!(said(&log), ["over"]);
    let (watched, log) = (Watched { fails: None, over: log.clone() }, log);
    let fails = Fake { name: "b".into(), act: Act::Fail, log: log.clone(), undo_fails: false };
    run(vec![Arc::new(watched), Arc::new(fails)], None).await;
    assert_eq!(said(&log)[1..], ["run b", "over", "undo b", "undo it"]);
}
