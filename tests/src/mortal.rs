//! Runs that end at a point of their journal, each in a process of its own: the test's own program, called anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reseed_core::engine::Engine;
use reseed_core::event::{Event, Observer};
use reseed_core::journal::{Entry, Journal, Journals, StateDirectory, Written};
use rustix::process::{Signal, getpid, kill_process};

use crate::run::load;

/// The first argument of a program that shall be such a run.
const DIE: &str = "die";

/// The tests of a program that is such a run as well.
pub fn program(tests: &[(&str, fn())]) -> ExitCode {
    if let Some(ended) = wanted() {
        return ended;
    }
    let trial = |(name, test): &(&str, fn())| {
        let test = *test;
        libtest_mimic::Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), tests.iter().map(trial).collect()).exit_code()
}

/// Where a run ends: before or after it writes the entry of this number, from 1 behind the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before it writes it.
    Before(usize),
    /// After it has written it.
    After(usize),
    /// At its end.
    Never,
}

impl Point {
    /// Every point of a run whose journal has so many entries behind the first.
    pub fn all(writes: usize) -> Vec<Self> {
        (1..=writes).flat_map(|number| [Self::Before(number), Self::After(number)]).collect()
    }

    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no point"));
        match text.split_once(' ') {
            Some(("before", text)) => Self::Before(number(text)),
            Some(("after", text)) => Self::After(number(text)),
            _ => Self::Never,
        }
    }

    /// In words.
    pub fn text(self) -> String {
        match self {
            Self::Before(number) => format!("before {number}"),
            Self::After(number) => format!("after {number}"),
            Self::Never => "never".to_owned(),
        }
    }
}

/// How a run ends at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By `kill -9`.
    Killed,
    /// It is stopped, and what it has done can be looked at before it is killed.
    Frozen,
}

impl End {
    fn signal(self) -> Signal {
        match self {
            Self::Killed => Signal::KILL,
            Self::Frozen => Signal::STOP,
        }
    }
}

/// Starts a run of this file, with its journal in this directory, that ends at this point.
#[expect(clippy::disallowed_methods, reason = "a run that is killed needs a process of its own")]
pub fn start(state: &StateDirectory, file: &Path, point: Point, end: End) -> Child {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.arg(DIE).arg(state.path()).arg(file).arg(point.text()).arg(format!("{end:?}"));
    program.stdin(Stdio::null()).spawn().unwrap()
}

/// The run that [`start`] wants of this program, if it is called for one.
fn wanted() -> Option<ExitCode> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [die, state, file, point, end] = args.as_slice() else { return None };
    let end = if *end == format!("{:?}", End::Frozen) { End::Frozen } else { End::Killed };
    (die == DIE).then(|| run_until(state, file, Point::parse(point), end))
}

/// Journals of runs that end at a point.
#[derive(Debug)]
struct Mortal<T> {
    inner: T,
    written: AtomicUsize,
    dies: Point,
    end: End,
}

impl Journals for Mortal<Written> {
    fn begin(&self, run: &str, pipeline: &str) -> reseed_core::Result<Arc<dyn Journal>> {
        let inner = self.inner.begin(run, pipeline)?;
        Ok(Arc::new(Mortal { inner, written: AtomicUsize::new(0), dies: self.dies, end: self.end }))
    }
}

impl Journal for Mortal<Arc<dyn Journal>> {
    fn write(&self, entry: &Entry) -> reseed_core::Result<()> {
        let number = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        self.die_at(Point::Before(number));
        let written = self.inner.write(entry);
        self.die_at(Point::After(number));
        written
    }
}

impl<T> Mortal<T> {
    fn die_at(&self, point: Point) {
        if self.dies == point {
            kill_process(getpid(), self.end.signal()).unwrap();
            std::thread::park();
        }
    }
}

fn run_until(state: &str, file: &str, dies: Point, end: End) -> ExitCode {
    let text = std::fs::read_to_string(file).unwrap();
    let state = StateDirectory::at(state);
    let inner = Written { state, path: "test.toml".to_owned(), file: text.clone(), set: BTreeMap::new() };
    let journals = Mortal { inner, written: AtomicUsize::new(0), dies, end };
    let engine = Engine::new(load(&text).pipeline).journals(Arc::new(journals)).observe(Arc::new(Told));
    ExitCode::from(runtime().block_on(engine.run()).exit_code())
}

/// A runtime for one run.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// Prints what matters, so that a failed test shows it.
#[derive(Debug)]
pub struct Told;

impl Observer for Told {
    fn on(&self, event: &Event) {
        if !matches!(event, Event::Progress(_) | Event::Note { .. }) {
            println!("  {event:?}");
        }
    }
}

/// Whether every point is wanted (`RESEED_FAULTS=all`), and not only a few.
pub fn all_faults() -> bool {
    std::env::var("RESEED_FAULTS").is_ok_and(|faults| faults == "all")
}

/// Numbers below `all`, spread evenly over them; others for each seed.
pub fn spread(all: usize, wanted: usize, seed: u64) -> Vec<usize> {
    if all <= wanted {
        return (0..all).collect();
    }
    let offset = seed as usize % (all / wanted);
    (0..wanted).map(|number| (number * all / wanted + offset).min(all - 1)).collect()
}

/// The seed of this test run: printed, and taken from `RESEED_SEED` where that is set.
pub fn seed() -> u64 {
    let set = std::env::var("RESEED_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = set.unwrap_or_else(now);
    println!("RESEED_SEED={seed}");
    seed
}

/// Shares of a whole, from 0 to 1, as a seed gives them.
#[derive(Debug)]
pub struct Shares(u64);

impl Shares {
    /// Those of a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed | 1)
    }
}

impl Iterator for Shares {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some((self.0 % 1000) as f64 / 1000.0)
    }
}
