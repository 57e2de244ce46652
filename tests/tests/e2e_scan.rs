//! Runs that were killed and whose state directory is lost: what they left is found and taken back without a
//! journal, nothing else is, and the next run succeeds.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use reseed_lab::{Major, PairOptions, Recipe, Storage};
use reseed_tests::ready_for;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use serde_json::Value;

/// A pair, and the program with a state directory of its own.
struct Lost {
    scene: Scene,
    recipe: Recipe,
}

impl Lost {
    async fn on(storage: Storage) -> Option<Self> {
        if !ready_for(storage) {
            return None;
        }
        let scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
        let mut lost = Self { scene, recipe: Recipe::default() };
        lost.scene.succeed(&lost.recipe).await;
        Some(lost)
    }

    #[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
    fn reseed(&self, args: &[&str]) -> Command {
        let file = self.scene.lab.path("lost.toml");
        std::fs::write(&file, self.scene.pipeline(&self.recipe)).unwrap();
        let mut program = Command::new(reseed_tests::binary());
        program.args(args).arg(file).env("RESEED_STATE_DIR", self.scene.lab.path("lost")).stdin(Stdio::null());
        program
    }

    fn done(&self, args: &[&str]) -> Output {
        let output = self.reseed(args).output().unwrap();
        println!("{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        println!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// A run that is killed when it has come to a stage, and whose journal is lost.
    fn killed_in(&self, stage: &str) {
        let mut child = self.reseed(&["run"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        await_stage(&mut child, stage);
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(self.scene.lab.path("lost")).unwrap();
    }

    /// What is found, as the exit code and one object for each thing.
    fn scanned(&self) -> (i32, Vec<Value>) {
        let output = self.done(&["status", "--json", "--scan"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// What is left of dead runs.
    fn left(&self) -> Vec<String> {
        let (_, found) = self.scanned();
        let left = found.iter().filter(|one| one["state"] == "left");
        left.map(|one| one["what"].as_str().unwrap().to_owned()).collect()
    }
}

fn await_stage(child: &mut Child, stage: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("] ") && line.contains(stage)), "it did not come to {stage}");
}

async fn taken_back(storage: Storage, stages: [&str; 2]) {
    let Some(mut lost) = Lost::on(storage).await else { return };
    let (code, found) = lost.scanned();
    assert_eq!(code, 0, "nothing is left of a run that has ended well: {found:#?}");
    assert!(found.iter().any(|one| one["what"] == "replication slot" && one["state"] == "kept"), "{found:#?}");
    for stage in stages {
        let before = State::of(&lost.scene);
        lost.killed_in(stage);
        let left = lost.left();
        assert!(left.iter().any(|what| what == "snapshot"), "{left:?}");
        assert!(left.iter().any(|what| what == "replication slot"), "{left:?}");
        assert_eq!(lost.scanned().0, 4);
        let refused = lost.done(&["run"]);
        assert_eq!(refused.status.code(), Some(3), "a run has died on the target, and nobody has seen to it");
        assert_eq!(lost.done(&["recover", "--scan"]).status.code(), Some(0));
        let wrong = lost.scene.is_as_it_was(&before);
        assert!(wrong.is_empty(), "killed in {stage}: {}", wrong.join("\n"));
        assert_eq!((lost.left(), lost.scanned().0), (vec![], 0));
        assert_eq!(lost.done(&["recover", "--scan"]).status.code(), Some(0), "a second time does no harm");
    }
    assert_eq!(lost.done(&["run"]).status.code(), Some(0));
    lost.scene.judge();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_on_btrfs_left_is_found_without_its_journal() {
    taken_back(Storage::Btrfs, ["btrfs-receive", "pg-configure"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_on_zfs_left_is_found_without_its_journal() {
    taken_back(Storage::Zfs, ["zfs-receive", "pg-configure"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_died_in_its_switch_is_no_end_of_the_standby() {
    let Some(mut lost) = Lost::on(Storage::Btrfs).await else { return };
    lost.killed_in("pg-switch");
    lost.scanned();
    assert_eq!(lost.done(&["recover", "--scan"]).status.code(), Some(0));
    assert_eq!(lost.done(&["run"]).status.code(), Some(0));
    lost.scene.judge();
}
