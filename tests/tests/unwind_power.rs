//! The power fails: the state directory lies on a device of its own, and of what a run has written there only that is
//! kept which had reached the device. `reseed recover` takes the run back, or finishes it where it had committed, and
//! the next run succeeds.
//!
//! At each point the run is stopped, the file under the device is copied as it is, the run is killed, and the copy is
//! mounted in the place of the file system, which had time to write nothing but what was synced. This program is both:
//! the run that is stopped, where it is called for one, and the test. A few points are tried by default and 50 where
//! `RESEED_FAULTS=all` (`make test-faults`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use reseed_core::journal::StateDirectory;
use reseed_lab::{Lab, Major, PairOptions, Recipe, Storage, Tool};
use reseed_tests::mortal::{self, End, Point, Shares, all_faults, runtime, seed, spread};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{judge, ready_for};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Points between journal writes, and random moments.
const ALL: (usize, usize) = (32, 18);
const FEW: (usize, usize) = (3, 2);

fn main() -> ExitCode {
    mortal::program(&[("what_was_not_synced_is_lost", what_was_not_synced_is_lost)])
}

/// File systems keep different things that nobody has synced.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ext4,
    Btrfs,
}

/// A file system on a device that can lose its power.
struct Device {
    directory: PathBuf,
    mounted: PathBuf,
}

/// What the journals of a state directory hold, by their names.
type Journals = BTreeMap<String, Vec<u8>>;

impl Device {
    fn in_lab(lab: &Lab) -> Self {
        let (directory, mounted) = (PathBuf::from(lab.path("devices")), PathBuf::from(lab.path("power")));
        std::fs::create_dir(&directory).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        lab.guard().add(&format!("umount {} 2>/dev/null", mounted.display())).unwrap();
        let device = Self { directory, mounted };
        device.blank("ext4", "16M", &["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
        device.blank("btrfs", "112M", &["mkfs.btrfs", "-q"]);
        device
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    fn blank(&self, name: &str, size: &str, make: &[&str]) {
        Tool::new("truncate").args(["-s", size, &self.file(name)]).run().unwrap();
        Tool::new(make[0]).args(make[1..].iter().copied()).arg(self.file(name)).run().unwrap();
    }

    fn state(&self) -> PathBuf {
        self.mounted.join("state")
    }

    /// Mounts an empty file system.
    fn begin(&self, kind: Kind) {
        let blank = format!("{kind:?}").to_lowercase();
        self.unmount();
        self.copy(&blank, "image");
        self.mount();
    }

    /// Nothing is written but what is synced, for as long as a run takes.
    fn mount(&self) {
        let mounted = self.mounted.to_string_lossy();
        let options = "loop,noatime,commit=600";
        Tool::new("mount").args(["-o", options, &self.file("image"), &mounted]).run().unwrap();
    }

    /// What used it may still be dying.
    fn unmount(&self) {
        let (path, begun) = (self.mounted.to_string_lossy().into_owned(), Instant::now());
        while is_mounted(&path) {
            if let Err(error) = Tool::new("umount").arg(&path).run() {
                assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // It would know a copy of a file system as what it was later.
        Tool::new("btrfs").args(["device", "scan", "--forget"]).run().unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        Tool::new("cp").args(["--sparse=always", &self.file(from), &self.file(to)]).run().unwrap();
    }

    /// What has reached the device by now.
    fn keep(&self) {
        self.copy("image", "kept");
    }

    /// The power is back, and what was kept is there.
    fn come_back(&self) {
        self.unmount();
        std::fs::rename(self.file("kept"), self.file("image")).unwrap();
        self.mount();
    }

    fn journals(&self) -> Journals {
        let Ok(all) = std::fs::read_dir(self.state().join("runs")) else { return Journals::new() };
        let all =
            all.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|is| is == "jsonl"));
        all.map(|path| (path.to_string_lossy().into_owned(), std::fs::read(path).unwrap())).collect()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Tool::new("umount").arg(self.mounted.to_string_lossy()).run();
    }
}

fn is_mounted(path: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(path))
}

/// When the power fails.
#[derive(Debug, Clone, Copy)]
enum Moment {
    At(Point),
    After(Duration),
}

/// What of journals was lost that must not be: everything that was written, but at a random moment the one entry that
/// is just being written.
fn lost(moment: Moment, written: &Journals, kept: &Journals) -> Vec<String> {
    let mut lost = vec![];
    for (name, written) in written {
        let kept = kept.get(name).map(Vec::as_slice).unwrap_or_default();
        let Some(rest) = written.strip_prefix(kept) else {
            lost.push(format!("{name} holds what nobody wrote"));
            continue;
        };
        let entries = rest.iter().filter(|byte| **byte == b'\n').count();
        let under_way = usize::from(matches!(moment, Moment::After(_)));
        if entries > under_way || under_way == 0 && !rest.is_empty() {
            lost.push(format!("{name}: {entries} entries, {} of {} bytes", rest.len(), written.len()));
        }
    }
    lost
}

/// A scene on which the power fails.
struct Trial {
    // It is unmounted before the lab goes.
    device: Device,
    scene: Scene,
    recipe: Recipe,
    file: PathBuf,
}

impl Trial {
    fn new() -> Self {
        let options = PairOptions { storage: Storage::Btrfs, ..PairOptions::small(Major::newest().unwrap()) };
        let mut scene = Scene::with(&options);
        // So many resets would fill the pool.
        let recipe = Recipe::default().with("pg-switch", "keep_old = \"0s\"");
        let device = Device::in_lab(&scene.lab);
        runtime().block_on(scene.succeed(&recipe));
        let file = PathBuf::from(scene.lab.path("power.toml"));
        std::fs::write(&file, scene.pipeline(&recipe)).unwrap();
        Self { device, scene, recipe, file }
    }

    fn state(&self) -> StateDirectory {
        StateDirectory::at(self.device.state())
    }

    /// Entries behind the first, and the time, of a whole run.
    fn whole(&self) -> (usize, Duration) {
        self.device.begin(Kind::Ext4);
        let begun = Instant::now();
        let mut whole = mortal::start(&self.state(), &self.file, Point::Never, End::Frozen);
        assert!(whole.wait().unwrap().success(), "a run that is not stopped");
        let takes = begun.elapsed();
        let journals = self.device.journals();
        let text = String::from_utf8_lossy(journals.values().next().unwrap()).into_owned();
        (text.lines().count() - 1, takes)
    }

    /// Runs until the moment, keeps what had reached the device, and kills what runs. Gives what was written, and
    /// whether the run was faster than that.
    fn run_until(&self, moment: Moment) -> (Journals, bool) {
        let point = if let Moment::At(point) = moment { point } else { Point::Never };
        let mut child = mortal::start(&self.state(), &self.file, point, End::Frozen);
        let pid = Pid::from_child(&child);
        if let Moment::After(time) = moment {
            std::thread::sleep(time);
            let _ = kill_process(pid, Signal::STOP);
        }
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = !waitid(WaitId::Pid(pid), stopped).unwrap().unwrap().stopped();
        let written = self.device.journals();
        self.device.keep();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.success(), ended, "{status} {moment:?}");
        assert!(!ended || matches!(moment, Moment::After(_)), "it did not stop {moment:?}");
        (written, ended)
    }

    fn cut(&mut self, kind: Kind, moment: Moment) {
        let what = format!("{moment:?}, on {kind:?}");
        println!("power cut {what}");
        self.device.begin(kind);
        self.scene.write_on();
        let before = State::of(&self.scene);
        let (written, ended) = self.run_until(moment);
        self.device.come_back();

        let mut wrong = lost(moment, &written, &self.device.journals());
        let dead = self.state().dead().unwrap();
        assert!(dead.damaged.is_empty(), "{what}: {:?}", dead.damaged);
        drop(dead);
        // It may even have ended.
        let found = self.state().found().unwrap();
        let committed = found.last().is_some_and(|last| last.story.as_ref().unwrap().has_committed());
        self.reseed("recover");
        if committed || ended {
            self.scene.judge();
        } else {
            wrong.extend(self.scene.is_as_it_was(&before));
        }
        assert!(wrong.is_empty(), "{what}:\n{}\n{}", wrong.join("\n"), self.scene.logs());
        assert!(self.state().dead().unwrap().runs.is_empty(), "{what}: there is still a run that died");

        self.reseed("run");
        assert!(judge::streams_soon(&self.scene.standby), "{what}: {}", self.scene.logs());
        assert_eq!(State::of(&self.scene).sessions.len(), 0, "{what}: an open session");
    }

    #[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
    fn reseed(&self, command: &str) {
        let mut program = Command::new(reseed_tests::binary());
        program.arg(command).env("RESEED_STATE_DIR", self.device.state()).stdin(Stdio::null());
        if command == "run" {
            program.arg(&self.file);
        }
        let output = program.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        println!("{command}: {}\n{said}", output.status);
        assert!(output.status.success(), "{command}: {said}\n{}", self.scene.logs());
    }
}

fn what_was_not_synced_is_lost() {
    if !ready_for(Storage::Btrfs) {
        return;
    }
    let mut trial = Trial::new();
    let (writes, takes) = trial.whole();
    assert!(writes > 20, "a run of so many stages writes more than {writes} entries");
    let (at_writes, at_random) = if all_faults() { ALL } else { FEW };
    let (points, seed) = (Point::all(writes), seed());
    // That a journal has its name must be synced on every file system before anything else is done.
    let mut moments = vec![Moment::At(points[0]); 2];
    moments.extend(spread(points.len(), at_writes - 2, seed).into_iter().map(|index| Moment::At(points[index])));
    moments.extend(Shares::of(seed).take(at_random).map(|share| Moment::After(takes.mul_f64(share))));
    for (moment, kind) in moments.into_iter().zip([Kind::Ext4, Kind::Btrfs].into_iter().cycle()) {
        trial.cut(kind, moment);
    }
    runtime().block_on(trial.scene.succeed(&trial.recipe));
}
