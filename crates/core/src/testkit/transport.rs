//! What every transport promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::harm::{Between, Harm};
use super::{Probe, comes_true, endless, header, standstill};
use crate::engine::{Engine, Options, Pipeline};
use crate::host::{Command, Host, Job, linked};
use crate::item::{Item, Payload, StreamItem};
use crate::report::{Outcome, RunReport};
use crate::stage::{Stage, StageCx, receive, unexpected};
use crate::{Kind, Mismatch, Result, StreamKind};

/// A byte more than a round number, and more than pipes hold.
const LONG: usize = 5_000_001;
/// What a sender says of itself when it fails.
const SAID: &str = "the disk is on fire";

/// Gives the file `$1`, and says in the file `$2` which process does.
const SENDS: &str = r#"echo $$ >"$2"; exec cat -- "$1""#;
/// Gives the first `$3` bytes of the file `$1`, closes its output, and fails.
const FAILS: &str = r#"head -c "$3" -- "$1"; exec >&-; echo 'the disk is on fire' >&2; exit 3"#;
/// The same, and dies.
const DIES: &str = r#"head -c "$3" -- "$1"; kill -9 $$"#;
/// Gives bytes without an end, 64 KiB at a time, and tells in the file `$2` how often.
const GOES_ON: &str =
    r#"n=0; while head -c 65536 /dev/urandom; do n=$((n+1)); echo $n >"$2.new"; mv "$2.new" "$2"; done"#;
/// Keeps its input in the file `$1`; beside it stands who does and, after a clean end, that it was one.
const KEEPS: &str = r#"echo $$ >"$1.new"; mv "$1.new" "$1.pid"; cat >"$1"; echo >"$1.clean""#;
/// Takes no input. On another machine it is not seen that nobody needs it any more, so it ends by itself.
const STALLS: &str = "exec sleep 40";

/// Something that breaks the connections of a transport.
type Cut = Arc<dyn Fn() + Send + Sync>;

/// A transport, with the filters in front of it that ask it for something, between two machines.
#[derive(Clone)]
pub struct TransportContract {
    stages: Vec<Arc<dyn Stage>>,
    from: (Arc<dyn Host>, String),
    to: (Arc<dyn Host>, String),
    ahead: u64,
    cut: Option<Cut>,
}

impl TransportContract {
    /// These stages, the last of them the transport, from a machine to another. On each of them there is an
    /// empty directory for files.
    pub fn new(stages: Vec<Arc<dyn Stage>>, from: (Arc<dyn Host>, &str), to: (Arc<dyn Host>, &str)) -> Self {
        let (from, to) = ((from.0, format!("{}/sent", from.1)), (to.0, format!("{}/received", to.1)));
        Self { stages, from, to, ahead: 32 << 20, cut: None }
    }

    /// So many bytes may be on their way that nobody has taken: in pipes, sockets, and programs that compress.
    /// Without this, 32 MiB.
    pub fn ahead(mut self, bytes: u64) -> Self {
        self.ahead = bytes;
        self
    }

    /// How its connections are broken while bytes flow.
    pub fn cut_by(mut self, cut: impl Fn() + Send + Sync + 'static) -> Self {
        self.cut = Some(Arc::new(cut));
        self
    }

    /// All of the contract.
    ///
    /// # Panics
    /// With what is not held.
    pub async fn holds(&self) {
        self.gives_the_kind_that_it_says();
        self.brings_everything().await;
        self.fails_when_its_sender_fails().await;
        self.fails_when_it_is_cut().await;
        self.ends_everything_when_it_is_cancelled().await;
        self.stops_when_nobody_receives().await;
    }

    /// What was asked for is undone behind it, and it says that it carries.
    pub fn gives_the_kind_that_it_says(&self) {
        let mut kind = Kind::Stream(StreamKind::plain(header().format));
        for stage in &self.stages {
            kind = stage.flow(&kind).unwrap_or_else(|mismatch| panic!("{}: {mismatch:?}", stage.name()));
        }
        assert_eq!(kind, Kind::Stream(StreamKind::plain(header().format)));
        assert!(self.stages.last().is_some_and(|stage| stage.carries()), "it does not say that it carries");
    }

    /// Every byte arrives, however many there are, and then a clean end.
    pub async fn brings_everything(&self) {
        for length in [0, 1, LONG] {
            let sent = self.send(length).await;
            let report = self.run(SENDS, 0, KEEPS, None).await;
            assert_eq!(report.outcome, Outcome::Done, "{length} bytes: {:?}", report.error);
            assert!(self.took_it_for_whole().await, "{length} bytes did not end");
            let received = self.to.0.files().read(&self.to.1).await.expect("it can be read");
            assert!(received.as_deref() == Some(&sent[..]), "{length} bytes became others");
            assert_eq!(report.stream_bytes, length as u64, "bytes are counted once");
        }
    }

    /// A sender that gives bytes, closes cleanly, and then fails or dies: its error is the error, and no
    /// receiver takes what came for the whole.
    pub async fn fails_when_its_sender_fails(&self) {
        self.send(LONG).await;
        for (script, said) in [(FAILS, Some(SAID)), (DIES, None)] {
            for length in [0, 1, 65_536, 1_234_567, LONG] {
                let report = self.run(script, length, KEEPS, None).await;
                let what = format!("a sender that fails after {length} bytes");
                self.must_have_failed(&what, &report, 1).await;
                let error = report.error.unwrap_or_default();
                assert!(said.is_none_or(|said| error.contains(said)), "{what} is told as: {error}");
            }
        }
    }

    /// A stream that is cut where it can be, in this process and, as [`cut_by`](Self::cut_by) can, on the wire.
    pub async fn fails_when_it_is_cut(&self) {
        self.send(LONG).await;
        for at in [0, 1, 65_536, 1_234_567, LONG as u64] {
            let report = self.run(SENDS, 0, KEEPS, Some((at, Harm::Breaks))).await;
            self.must_have_failed(&format!("a stream that breaks after {at} bytes"), &report, 1).await;
        }
        for at in self.cut.iter().flat_map(|_| [0, 65_536, 1_234_567]) {
            let cut = self.cut.clone();
            let act = move || cut.iter().for_each(|cut| cut());
            let report = self.run(GOES_ON, 0, KEEPS, Some((at, Harm::Acts(Box::new(act))))).await;
            self.must_have_failed(&format!("a wire that is cut after {at} bytes"), &report, 1).await;
        }
    }

    /// A cancel ends what sends and what receives, which does not take it for a clean end.
    pub async fn ends_everything_when_it_is_cancelled(&self) {
        let engine = self.engine(Gives::Job(GOES_ON, 0), KEEPS, None);
        let cancel = engine.cancel_token();
        let flows = async {
            let moved = comes_true(async || self.count().await > 2).await;
            cancel.cancel();
            moved
        };
        let (report, flowed) = tokio::join!(engine.run(), flows);
        assert!(flowed, "nothing flows: {:?}", report.error);
        self.must_have_failed("a cancel", &report, 130).await;
        let stands = standstill(async || self.count().await).await;
        assert!(stands.is_some(), "what sends outlives a cancel");
    }

    /// When nobody takes what arrives, what sends comes to a standstill.
    pub async fn stops_when_nobody_receives(&self) {
        let probe = Probe::default();
        let local = self.from.0.is_local();
        let gives = if local { Gives::Here(probe.clone()) } else { Gives::Job(GOES_ON, 0) };
        let engine = self.engine(gives, STALLS, None);
        let cancel = engine.cancel_token();
        let stalls = async {
            let pulled = async || if local { probe.pulled() } else { self.count().await * 65_536 };
            let stands = standstill(pulled).await;
            cancel.cancel();
            stands
        };
        let (report, stands) = tokio::join!(engine.run(), stalls);
        let pulled = stands.unwrap_or_else(|| panic!("what sends goes on and on, or never began: {:?}", report.error));
        assert!(pulled <= self.ahead, "{pulled} bytes were taken from the sender, more than {}", self.ahead);
        self.must_have_failed("a receiver that stands still", &report, 130).await;
    }

    /// The run failed, everything on both machines has ended, and no clean end was seen.
    async fn must_have_failed(&self, what: &str, report: &RunReport, code: u8) {
        let told = report.error.clone().unwrap_or_default();
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, code), "{what}: {told}");
        assert!(!self.took_it_for_whole().await, "{what} is taken for a whole one");
    }

    /// Waits until the receiver has ended, where it has begun, and says whether it saw a clean end.
    async fn took_it_for_whole(&self) -> bool {
        let files = self.to.0.files();
        let pid = files.read_text(&format!("{}.pid", self.to.1)).await.expect("it can be read");
        if let Some(pid) = pid {
            assert!(self.ends(&self.to.0, pid.trim()).await, "process {pid} that receives outlives its run");
        }
        files.exists(&format!("{}.clean", self.to.1)).await.expect("it can be looked at")
    }

    /// Waits for the end of a process. One that is only waiting to be reaped has ended.
    async fn ends(&self, host: &Arc<dyn Host>, pid: &str) -> bool {
        let script = r#"kill -0 "$1" 2>/dev/null && ! ps -o stat= -p "$1" | grep -q Z"#;
        comes_true(async || {
            let alive = host.output(Command::script(script).titled("is-alive").arg(pid)).await;
            alive.is_ok_and(|output| !output.exit.success())
        })
        .await
    }

    /// How often the sender that goes on has given something.
    async fn count(&self) -> u64 {
        let told = self.from.0.files().read_text(&format!("{}.told", self.from.1)).await;
        told.ok().flatten().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Puts so many bytes where they are sent from.
    async fn send(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut random = endless();
        while bytes.len() < length {
            bytes.extend_from_slice(&random.next().await.expect("it never fails").expect("it has no end"));
        }
        bytes.truncate(length);
        self.from.0.files().write(&self.from.1, &bytes, 0o600).await.expect("it can be written");
        bytes
    }

    async fn run(
        &self,
        sends: &'static str,
        length: usize,
        keeps: &'static str,
        harm: Option<(u64, Harm)>,
    ) -> RunReport {
        for (host, path) in [(&self.to.0, &self.to.1), (&self.from.0, &self.from.1)] {
            let script = r#"rm -f -- "$1.pid" "$1.clean" "$1.told""#;
            host.run(Command::script(script).titled("clear").arg(path)).await.expect("files can be removed");
        }
        self.engine(Gives::Job(sends, length), keeps, harm).run().await
    }

    fn engine(&self, gives: Gives, keeps: &'static str, harm: Option<(u64, Harm)>) -> Engine {
        let mut stages: Vec<Arc<dyn Stage>> =
            vec![Arc::new(Sends { on: Arc::clone(&self.from.0), path: self.from.1.clone(), gives })];
        stages.extend(self.stages.iter().cloned());
        if harm.is_some() {
            stages.push(Arc::new(Between::new(&Probe::default(), harm, None)));
        }
        stages.push(Arc::new(Keeps { on: Arc::clone(&self.to.0), path: self.to.1.clone(), script: keeps }));
        let options = Options { grace: Duration::from_millis(100), ..Options::default() };
        Engine::new(Pipeline::new("testkit", stages)).options(options)
    }
}

/// What a sender gives.
#[derive(Debug, Clone)]
enum Gives {
    /// What a script makes of a file, with a number.
    Job(&'static str, usize),
    /// Bytes without an end, in this process.
    Here(Probe),
}

#[derive(Debug)]
struct Sends {
    on: Arc<dyn Host>,
    path: String,
    gives: Gives,
}

#[async_trait]
impl Stage for Sends {
    fn name(&self) -> &str {
        "testkit-sends"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Stream(StreamKind::plain(header().format)))
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.on))
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        let stream = match &self.gives {
            Gives::Job(script, length) => {
                let command = Command::script(script).titled("sender").arg(&self.path);
                let job = Job::from(command.arg(format!("{}.told", self.path)).arg(length.to_string()));
                StreamItem::from_job(header(), Arc::clone(&self.on), job)
            }
            Gives::Here(probe) => super::item(probe.on(endless())),
        };
        Ok(input.with(Payload::Streams(vec![stream])))
    }
}

#[derive(Debug)]
struct Keeps {
    on: Arc<dyn Host>,
    path: String,
    script: &'static str,
}

#[async_trait]
impl Stage for Keeps {
    fn name(&self) -> &str {
        "testkit-keeps"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Stream(stream) => Ok(Kind::Staged(stream.clone())),
            other => Err(Mismatch::new("a stream", other, other.clone())),
        }
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.on))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(self.name(), &input)) };
        let kind = StreamKind::plain(header().format);
        for stream in streams {
            let job = linked(Command::script(self.script).titled("receiver").arg(&self.path).into());
            receive(stream, self.on.as_ref(), job, cx).await?;
        }
        Ok(Item { payload: Payload::Staged(kind), facts: input.facts })
    }
}
