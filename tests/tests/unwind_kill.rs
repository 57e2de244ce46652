//! `kill -9` of reseed, between every two writes of its journal and at random moments: what it left is
//! taken back, or finished where it had committed, and the next run succeeds.
//!
//! This program is both: the run that is killed, where it is called for one, and the tests. A few
//! points are tried by default and all of them where `RESEED_FAULTS=all` (`make test-faults`).

use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::event::Observer;
use reseed_core::journal::{Recovery, StateDirectory};
use reseed_core::report::Outcome;
use reseed_lab::{Major, PairOptions, Recipe, Storage, Switch};
use reseed_tests::mortal::{self, End, Point, Shares, Told, all_faults, runtime, seed, spread};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{judge, ready_for};
use tokio_util::sync::CancellationToken;

/// Points and moments that are tried by default, for each way.
const FEW: usize = 8;

fn main() -> ExitCode {
    mortal::program(&[
        ("zfs_by_clone_at_journal_writes", || at_writes(Storage::Zfs, Switch::Clone)),
        ("zfs_in_place_at_journal_writes", || at_writes(Storage::Zfs, Switch::InPlace)),
        ("btrfs_by_clone_at_journal_writes", || at_writes(Storage::Btrfs, Switch::Clone)),
        ("zfs_by_clone_at_random_moments", || at_random(Storage::Zfs, Switch::Clone)),
        ("btrfs_by_clone_at_random_moments", || at_random(Storage::Btrfs, Switch::Clone)),
    ])
}

/// A scene on which runs are killed, with their journals in a directory.
struct Trial {
    scene: Scene,
    recipe: Recipe,
    state: StateDirectory,
    /// Journals that there were before the run that is killed.
    known: usize,
    wrong: Vec<String>,
}

impl Trial {
    fn new(storage: Storage, switch: Switch) -> Self {
        let mut scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
        let recipe = Recipe { switch, ..Recipe::default() };
        let state = StateDirectory::at(scene.lab.path("state"));
        runtime().block_on(scene.succeed(&recipe));
        Self { scene, recipe, state, known: 0, wrong: vec![] }
    }

    fn start(&mut self, point: Point) -> Child {
        self.known = self.state.found().unwrap().len();
        let file = self.scene.lab.path("killed.toml");
        std::fs::write(&file, self.scene.pipeline(&self.recipe)).unwrap();
        mortal::start(&self.state, file.as_ref(), point, End::Killed)
    }

    /// Recovers what died, and says what is not as it should be.
    fn recover(&mut self, before: &State, what: &str) {
        let dead = self.state.dead().unwrap();
        assert!(dead.damaged.is_empty(), "{what}: {:?}", dead.damaged);
        drop(dead);
        let committed = self.has_committed();
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

    /// Whether the run that was killed has committed, or even ended, before it was.
    fn has_committed(&self) -> bool {
        let found = self.state.found().unwrap();
        found.len() > self.known && found.last().is_some_and(|last| last.story.as_ref().unwrap().has_committed())
    }

    /// A run that had committed is finished: its standby is there, and nothing but what it needs.
    fn must_be_new(&mut self, recovered: &[Recovery], what: &str) {
        assert!(recovered.iter().all(|one| one.outcome == Outcome::Done), "{what}: {recovered:?}");
        self.scene.judge();
    }

    /// Whatever was wrong, and whether the next run succeeds.
    fn judge(mut self) {
        assert!(self.wrong.is_empty(), "{}\n{}", self.wrong.join("\n"), self.scene.logs());
        // That a run had ended which was killed before it said so to its lock is known to its own journal alone.
        assert!(self.start(Point::Never).wait().unwrap().success(), "the next run");
        self.scene.judge();
    }
}

fn at_writes(storage: Storage, switch: Switch) {
    if !ready_for(storage) {
        return;
    }
    let mut trial = Trial::new(storage, switch);
    let points = points(&mut trial);
    let wanted = if all_faults() { points.len() } else { FEW };
    for index in spread(points.len(), wanted, seed()) {
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
    Point::all(writes)
}

fn at_random(storage: Storage, switch: Switch) {
    if !ready_for(storage) {
        return;
    }
    let mut trial = Trial::new(storage, switch);
    let begun = Instant::now();
    assert!(trial.start(Point::Never).wait().unwrap().success(), "a run that is not killed");
    let takes = begun.elapsed();
    let tries = if all_faults() { 100 } else { FEW };
    for share in Shares::of(seed()).take(tries) {
        kill_after(&mut trial, takes.mul_f64(share));
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
