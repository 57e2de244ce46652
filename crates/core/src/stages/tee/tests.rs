//! What branches promise, on stages that only read.

mod apart;
mod ends;
mod undecided;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use serde::{Deserialize, Serialize};

use super::*;
use crate::engine::{Engine, Options, Pipeline};
use crate::item::{StreamHeader, StreamItem};
use crate::report::{Outcome, RunReport};
use crate::stream::{BoxStream, ByteStream, Chunks};
use crate::undo::{Chore, Undo};
use crate::{Format, StreamKind};
use crate::{register_chore, register_undo};

const FORMAT: Format = Format::new("test");
const CHUNK: usize = 64 * 1024;

type Log = Arc<Mutex<Vec<String>>>;

fn header() -> StreamHeader {
    let part = SnapshotPart {
        dataset: "data".into(),
        mountpoint: "/data".into(),
        snapshot: "now".into(),
        guid: "1".into(),
        main: true,
    };
    StreamHeader::new(part, FORMAT)
}

/// Gives a stream of chunks, which may fail at its end, and does one act for each branch.
#[derive(Debug)]
struct Give {
    streams: usize,
    chunks: usize,
    fails: bool,
    pulled: Arc<AtomicUsize>,
    log: Log,
}

struct Counted {
    inner: Chunks,
    pulled: Arc<AtomicUsize>,
}

#[async_trait]
impl ByteStream for Counted {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.pulled.fetch_add(1, Ordering::SeqCst);
        self.inner.next().await
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    what: String,
    #[serde(skip)]
    log: Log,
    fails: bool,
}

impl Noted {
    fn new(what: impl Into<String>, log: &Log) -> Self {
        Self { what: what.into(), log: log.clone(), fails: false }
    }
}

register_undo!("noted", Noted);
register_chore!("noted", Noted);

#[async_trait]
impl Undo for Noted {
    fn describe(&self) -> String {
        self.what.clone()
    }

    fn by_hand(&self) -> String {
        self.what.clone()
    }

    async fn undo(&self) -> Result<()> {
        self.log.lock().unwrap().push(self.what.clone());
        if self.fails { Err(Error::failed("still there")) } else { Ok(()) }
    }
}

#[async_trait]
impl Chore for Noted {
    fn describe(&self) -> String {
        self.what.clone()
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.log.lock().unwrap().push(self.what.clone());
        Ok(None)
    }
}

#[async_trait]
impl Stage for Give {
    fn name(&self) -> &str {
        "give"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Stream(StreamKind { format: FORMAT, encodings: vec![] }))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        cx.arm(Noted::new("for all", &self.log))?;
        cx.after_commit(Noted::new("afterwards", &self.log))?;
        for branch in cx.branches() {
            let name = branch.name;
            cx.arm_for(&name, Noted::new(format!("for {name}"), &self.log))?;
        }
        let stream = |_| {
            let chunks = vec![Bytes::from(vec![7; CHUNK]); self.chunks];
            let cut = || Error::failed("cut").hint("mend it");
            let inner = if self.fails { Chunks::failing(chunks, cut()) } else { Chunks::new(chunks) };
            let stream: BoxStream = Box::new(Counted { inner, pulled: self.pulled.clone() });
            StreamItem::here(header(), stream)
        };
        Ok(input.with(Payload::Streams((0..self.streams).map(stream).collect())))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    All,
    /// Fails after so many chunks.
    FailsAfter(usize),
    /// Reads so many chunks and then nothing more.
    StallsAfter(usize),
    Panics,
    /// Fails, and what it did can't be taken back.
    Sticks,
    /// Refuses to begin.
    Refuses,
    /// Takes its time for each chunk.
    Slowly,
    /// Works for ever, and says so; it can't be dropped at every moment.
    Busily,
}

#[derive(Debug)]
struct Take {
    name: String,
    reads: Reads,
    log: Log,
    stalled: CancellationToken,
}

#[async_trait]
impl Stage for Take {
    fn name(&self) -> &str {
        "take"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim { what: "place", host: "here".into(), name: self.name.clone() }]
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        match self.reads {
            Reads::Refuses => Err(Error::refused(format!("{} will not", cx.branch().unwrap())).hint("ask nicely")),
            _ => Ok(()),
        }
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let fails = self.reads == Reads::Sticks;
        cx.arm(Noted { fails, ..Noted::new(format!("{}'s own", self.name), &self.log) })?;
        let Payload::Streams(streams) = input.payload else { panic!("no stream") };
        let mut bytes = 0;
        for stream in streams {
            bytes += self.take(stream).await?;
        }
        self.log.lock().unwrap().push(format!("{} took {}", self.name, bytes / CHUNK));
        Ok(Item { payload: Payload::Standby, facts: input.facts })
    }
}

impl Take {
    async fn work_busily(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            self.log.lock().unwrap().push("still at work".to_owned());
            tokio::task::yield_now().await;
        }
    }

    async fn take(&self, stream: StreamItem) -> Result<usize> {
        let mut stream = stream.open(None).await?;
        let mut bytes = 0;
        while let Some(chunk) = stream.next().await? {
            bytes += chunk.len();
            match self.reads {
                Reads::Sticks => return Err(Error::failed("stuck in the mud")),
                Reads::Slowly => tokio::time::sleep(Duration::from_millis(2)).await,
                Reads::FailsAfter(chunks) if bytes >= chunks * CHUNK => return Err(Error::failed("no luck")),
                Reads::StallsAfter(chunks) if bytes >= chunks * CHUNK => {
                    self.stalled.cancel();
                    std::future::pending::<()>().await;
                }
                Reads::Panics => panic!("out of luck"),
                Reads::Busily => self.work_busily().await,
                _ => {}
            }
        }
        Ok(bytes)
    }
}

struct Setting {
    log: Log,
    pulled: Arc<AtomicUsize>,
    stalled: CancellationToken,
    engine: Engine,
}

fn setting(policy: Policy, patience: Option<Duration>, fails: bool, reads: [Reads; 2]) -> Setting {
    with_streams(1, policy, patience, fails, reads)
}

fn with_streams(streams: usize, policy: Policy, patience: Option<Duration>, fails: bool, reads: [Reads; 2]) -> Setting {
    let (log, pulled, stalled) = (Log::default(), Arc::<AtomicUsize>::default(), CancellationToken::new());
    let branch = |(name, reads): (&str, Reads)| {
        let take = Take { name: name.into(), reads, log: log.clone(), stalled: stalled.clone() };
        Branch { name: name.to_owned(), stages: vec![Arc::new(take)] }
    };
    let branches = ["one", "two"].into_iter().zip(reads).map(branch).collect();
    let tee = Tee { branches, policy, slack: Slack { buffer: 4 * CHUNK as u32, patience } };
    let give = Give { streams, chunks: 50, fails, pulled: pulled.clone(), log: log.clone() };
    let options = Options { grace: Duration::from_millis(100), ..Options::default() };
    let engine = Engine::new(Pipeline::new("test", vec![Arc::new(give), Arc::new(tee)])).options(options);
    Setting { log, pulled, stalled, engine }
}

impl Setting {
    async fn run(&self) -> (RunReport, Vec<String>) {
        let report = self.engine.run().await;
        let mut said = self.log.lock().unwrap().clone();
        said.sort();
        (report, said)
    }
}

fn outcomes(report: &RunReport) -> Vec<(&str, Outcome)> {
    let mut all: Vec<_> = report.branches.iter().map(|branch| (branch.branch.as_str(), branch.outcome)).collect();
    all.sort();
    all
}

#[tokio::test]
async fn every_branch_gets_every_byte_of_one_read() {
    let setting = setting(Policy::All, None, false, [Reads::All, Reads::All]);
    let (report, said) = setting.run().await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Done, 0));
    assert_eq!(said, ["afterwards", "one took 50", "two took 50"]);
    assert_eq!(setting.pulled.load(Ordering::SeqCst), 51);
}

#[tokio::test]
async fn a_branch_that_fails_or_panics_is_taken_back_alone_with_what_was_done_for_it() {
    for reads in [Reads::FailsAfter(3), Reads::Panics] {
        for (policy, code) in [(Policy::All, 1), (Policy::Any, 0)] {
            let (report, said) = setting(policy, None, false, [Reads::All, reads]).run().await;
            assert_eq!(report.exit_code(), code, "{report:?}");
            assert_eq!(said, ["for two", "one took 50", "two's own"]);
            assert_eq!(outcomes(&report), [("one", Outcome::Done), ("two", Outcome::Undone)]);
        }
    }
}

#[tokio::test]
async fn when_every_branch_fails_everything_is_taken_back() {
    let fails = Reads::FailsAfter(1);
    let (report, said) = setting(Policy::Any, None, false, [fails, fails]).run().await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1));
    assert_eq!(said, ["for all", "for one", "for two", "one's own", "two's own"]);
}

#[tokio::test]
async fn a_source_that_fails_ends_no_branch_cleanly() {
    let (report, said) = setting(Policy::Any, None, true, [Reads::All, Reads::All]).run().await;
    assert_eq!(report.exit_code(), 1);
    assert!(!said.iter().any(|line| line.contains("took")), "{said:?}");
    assert_eq!(report.error.unwrap(), "stage tee: reading for all branches: cut");
    assert_eq!(report.hint.unwrap(), "mend it");
}

#[tokio::test]
async fn a_branch_that_stalls_stops_the_source_within_its_buffer() {
    let setting = setting(Policy::All, None, false, [Reads::All, Reads::StallsAfter(2)]);
    let (cancel, stalled) = (setting.engine.cancel_token(), setting.stalled.clone());
    let watch = tokio::spawn(async move {
        stalled.cancelled().await;
        // Whoever could still pull has done so when nothing else is ready to run.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    let (report, said) = setting.run().await;
    watch.await.unwrap();
    assert_eq!(report.exit_code(), 130);
    let pulled = setting.pulled.load(Ordering::SeqCst);
    assert!(pulled <= 8, "{pulled} chunks were pulled");
    assert_eq!(said, ["for all", "for one", "for two", "one's own", "two's own"]);
}

#[tokio::test]
async fn a_branch_that_lags_too_long_is_dropped_and_the_other_goes_on() {
    let patience = Some(Duration::from_millis(50));
    let setting = setting(Policy::Any, patience, false, [Reads::All, Reads::StallsAfter(1)]);
    let (report, said) = setting.run().await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Done, 0));
    assert_eq!(outcomes(&report), [("one", Outcome::Done), ("two", Outcome::Undone)]);
    assert_eq!(said, ["for two", "one took 50", "two's own"]);
}
