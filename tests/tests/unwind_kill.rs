//! `kill -9` of reseed, between every two writes of its journal and at random moments: what it left is
//! taken back, or finished where it had committed, and the next run succeeds.
//!
//! This program is both: called with `die` it is a run that is killed, otherwise it is the tests. A few
//! points are tried by default and all of them where `RESEED_FAULTS=all` (`make test-faults`).

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed};
use reseed_core::engine::Engine;
use reseed_core::event::{Event, Observer};
use reseed_core::journal::{Entry, Journal, Journals, Recovery, StateDirectory, Written};
use reseed_core::report::Outcome;
use reseed_lab::{Major, PairOptions, Recipe, Storage, Switch};
use reseed_tests::run::load;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{judge, ready_for};
use rustix::process::{Signal, getpid, kill_process};
use tokio_util::sync::CancellationToken;

/// Points and moments that are tried by default, for each way.
const FEW: usize = 8;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [die, state, file, point] = args.as_slice()
        && die == "die"
    {
        return run_until(state, file, Point::parse(point));
    }
    let trial = |name: &str, test: fn()| {
        libtest_mimic::Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    let trials = vec![
        trial("zfs_by_clone_at_journal_writes", || at_writes(Storage::Zfs, Switch::Clone)),
        trial("zfs_in_place_at_journal_writes", || at_writes(Storage::Zfs, Switch::InPlace)),
        trial("btrfs_by_clone_at_journal_writes", || at_writes(Storage::Btrfs, Switch::Clone)),
        trial("zfs_by_clone_at_random_moments", || at_random(Storage::Zfs, Switch::Clone)),
        trial("btrfs_by_clone_at_random_moments", || at_random(Storage::Btrfs, Switch::Clone)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Where a run dies: before or after it writes the entry of this number, from 1 behind the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Before(usize),
    After(usize),
    Never,
}

impl Point {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no point"));
        match text.split_once(' ') {
            Some(("before", text)) => Self::Before(number(text)),
            Some(("after", text)) => Self::After(number(text)),
            _ => Self::Never,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Before(number) => format!("before {number}"),
            Self::After(number) => format!("after {number}"),
            Self::Never => "never".to_owned(),
        }
    }
}

/// Journals of runs that die at a point.
#[derive(Debug)]
struct Mortal<T> {
    inner: T,
    written: AtomicUsize,
    dies: Point,
}

impl Journals for Mortal<Written> {
    fn begin(&self, run: &str, pipeline: &str) -> reseed_core::Result<Arc<dyn Journal>> {
        let inner = self.inner.begin(run, pipeline)?;
        Ok(Arc::new(Mortal { inner, written: AtomicUsize::new(0), dies: self.dies }))
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
            kill_process(getpid(), Signal::KILL).unwrap();
            std::thread::park();
        }
    }
}

fn written(state: &str, file: &str) -> Written {
    let state = StateDirectory::at(state);
    Written { state, path: "test.toml".to_owned(), file: file.to_owned(), set: BTreeMap::new() }
}

/// The run that is killed.
fn run_until(state: &str, file: &str, dies: Point) -> ExitCode {
    let text = std::fs::read_to_string(file).unwrap();
    let journals = Mortal { inner: written(state, &text), written: AtomicUsize::new(0), dies };
    let engine = Engine::new(load(&text).pipeline).journals(Arc::new(journals)).observe(Arc::new(Told));
    let report = runtime().block_on(engine.run());
    ExitCode::from(report.exit_code())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// Prints what matters, so that a failed test shows it.
#[derive(Debug)]
struct Told;

impl Observer for Told {
    fn on(&self, event: &Event) {
        if !matches!(event, Event::Progress(_) | Event::Note { .. }) {
            println!("  {event:?}");
        }
    }
}

/// A scene on which runs are killed, with their journals in a directory.
struct Trial {
    scene: Scene,
    recipe: Recipe,
    state: StateDirectory,
    wrong: Vec<String>,
}

impl Trial {
    fn new(storage: Storage, switch: Switch) -> Self {
        let mut scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
        let recipe = Recipe { switch, ..Recipe::default() };
        let state = StateDirectory::at(scene.lab.path("state"));
        runtime().block_on(scene.succeed(&recipe));
        Self { scene, recipe, state, wrong: vec![] }
    }

    #[expect(clippy::disallowed_methods, reason = "a run that is killed needs a process of its own")]
    fn start(&self, point: Point) -> Child {
        let file = self.scene.lab.path("killed.toml");
        std::fs::write(&file, self.scene.pipeline(&self.recipe)).unwrap();
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.arg("die").arg(self.state.path()).arg(file).arg(point.text());
        program.stdin(Stdio::null()).spawn().unwrap()
    }

    /// Recovers what died, and says what is not as it should be.
    fn recover(&mut self, before: &State, what: &str) {
        let dead = self.state.dead().unwrap();
        assert!(dead.damaged.is_empty(), "{what}: {:?}", dead.damaged);
        let committed = dead.runs.iter().any(|run| run.story.has_committed());
        drop(dead);
        let (observer, stop): (Arc<dyn Observer>, _) = (Arc::new(Told), CancellationToken::new());
        let recovered = runtime().block_on(self.state.recover(|_| true, &observer, &stop)).unwrap();
        let recovered: Vec<_> = recovered.taken.into_iter().map(|taken| taken.end.unwrap()).collect();
        let stuck: Vec<_> = recovered.iter().filter(|one| one.outcome == Outcome::Stuck).collect();
        if !stuck.is_empty() {
            self.wrong.push(format!("{what}: {stuck:?}"));
        }
        if committed {
            self.must_be_new(&recovered, what);
        } else {
            let wrong = self.scene.is_as_it_was(before);
            self.wrong.extend(wrong.into_iter().map(|wrong| format!("{what}: {wrong}")));
        }
        if !self.state.dead().unwrap().runs.is_empty() {
            self.wrong.push(format!("{what}: there is still a run that died"));
        }
    }

    /// A run that had committed is finished: its standby is there, and nothing but what it needs.
    fn must_be_new(&mut self, recovered: &[Recovery], what: &str) {
        assert!(recovered.iter().all(|one| one.outcome == Outcome::Done), "{what}: {recovered:?}");
        self.scene.judge();
    }

    /// Whatever was wrong, and whether the next run succeeds.
    fn judge(mut self) {
        assert!(self.wrong.is_empty(), "{}\n{}", self.wrong.join("\n"), self.scene.logs());
        runtime().block_on(self.scene.succeed(&self.recipe));
    }
}

/// Points and moments to try of so many.
fn chosen(all: usize) -> Vec<usize> {
    if std::env::var("RESEED_FAULTS").is_ok_and(|faults| faults == "all") || all <= FEW {
        return (0..all).collect();
    }
    // Others each time, but spread evenly over the run.
    let offset = seed() as usize % (all / FEW);
    (0..FEW).map(|number| (number * all / FEW + offset).min(all - 1)).collect()
}

fn seed() -> u64 {
    let set = std::env::var("RESEED_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = set.unwrap_or_else(now);
    println!("RESEED_SEED={seed}");
    seed
}

fn at_writes(storage: Storage, switch: Switch) {
    if !ready_for(storage) {
        return;
    }
    let mut trial = Trial::new(storage, switch);
    let points = points(&mut trial);
    for index in chosen(points.len()) {
        let point = points[index];
        println!("killed {}", point.text());
        let before = State::of(&trial.scene);
        let ended = trial.start(point).wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&ended),
            Some(9),
            "it was not killed {}",
            point.text()
        );
        trial.recover(&before, &format!("killed {}", point.text()));
    }
    trial.judge();
}

/// Every point of a whole run.
fn points(trial: &mut Trial) -> Vec<Point> {
    assert!(trial.start(Point::Never).wait().unwrap().success(), "a run that is not killed");
    let found = trial.state.found().unwrap().pop().unwrap();
    let writes = std::fs::read_to_string(&found.path).unwrap().lines().count() - 1;
    println!("{writes} writes");
    assert!(writes > 20, "a run of so many stages writes more than {writes} entries");
    (1..=writes).flat_map(|number| [Point::Before(number), Point::After(number)]).collect()
}

fn at_random(storage: Storage, switch: Switch) {
    if !ready_for(storage) {
        return;
    }
    let mut trial = Trial::new(storage, switch);
    let begun = Instant::now();
    assert!(trial.start(Point::Never).wait().unwrap().success(), "a run that is not killed");
    let takes = begun.elapsed();
    let tries = if std::env::var("RESEED_FAULTS").is_ok_and(|faults| faults == "all") { 100 } else { FEW };
    let mut random = seed() | 1;
    for _ in 0..tries {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let after = takes.mul_f64((random % 1000) as f64 / 1000.0);
        kill_after(&mut trial, after);
    }
    trial.judge();
}

fn kill_after(trial: &mut Trial, after: Duration) {
    println!("killed after {after:?}");
    let before = State::of(&trial.scene);
    let mut child = trial.start(Point::Never);
    std::thread::sleep(after);
    child.kill().unwrap();
    // It may have been faster than the one that was measured.
    if child.wait().unwrap().success() {
        assert!(judge::streams_soon(&trial.scene.standby));
        return;
    }
    trial.recover(&before, &format!("killed after {after:?}"));
}
