//! A state directory that is full, or fills up in the midst of a run: the run is refused, or is taken back,
//! the old standby serves and streams, and the next run with room succeeds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reseed_lab::{Major, PairOptions, Recipe, Storage, Tool};
use reseed_tests::ready_for;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

/// What a file system in memory gives out at once, in bytes.
const PAGE: usize = 4096;
/// Pages of the file system: more than the journals of all runs of the test need.
const PAGES: usize = 64;

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn mounted(path: PathBuf) -> Self {
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={},mode=0700", PAGE * PAGES);
        Tool::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path.to_string_lossy()).run().unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Leaves room for so many pages.
    fn fill(&self, left: usize) {
        let filler = self.0.join("filler");
        let _ = std::fs::remove_file(&filler);
        let mut page = 0;
        while append(&filler, &[7; PAGE]) {
            page += 1;
            assert!(page <= PAGES, "the file system takes more than it holds");
        }
        let file = std::fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(((page - left) * PAGE) as u64).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }

    /// Bytes of the only journal up to where its run has committed.
    fn until_commit(&self) -> usize {
        let mut all = std::fs::read_dir(self.state().join("runs")).unwrap();
        let text = std::fs::read_to_string(all.next().unwrap().unwrap().path()).unwrap();
        assert!(all.next().is_none(), "there is more than one journal");
        let before = text.lines().take_while(|line| !line.contains("\"entry\":\"committed\""));
        before.map(|line| line.len() + 1).sum()
    }
}

fn append(path: &Path, bytes: &[u8]) -> bool {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).is_ok()
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Tool::new("umount").arg(self.0.to_string_lossy()).run();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn reseed(scene: &Scene, small: &Small, args: &[&str]) -> (i32, String) {
    let mut program = Command::new(reseed_tests::binary());
    program.args(args).env("RESEED_STATE_DIR", small.state()).stdin(Stdio::null());
    let output = program.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    println!("{args:?}: {}\n{said}", output.status);
    assert!(!said.contains("bug:"), "{}", scene.logs());
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_is_full_or_fills_up_ends_the_run_cleanly() {
    if !ready_for(Storage::Btrfs) {
        return;
    }
    let options = PairOptions { storage: Storage::Btrfs, ..PairOptions::small(Major::newest().unwrap()) };
    let mut scene = Scene::with(&options);
    let recipe = Recipe::default();
    scene.succeed(&recipe).await;
    let small = Small::mounted(scene.lab.path("small").into());
    let file = scene.lab.path("small.toml");
    std::fs::write(&file, scene.pipeline(&recipe)).unwrap();
    let run = |scene: &Scene| reseed(scene, &small, &["run", &file]);

    assert_eq!(run(&scene).0, 0);
    scene.judge();
    let pages = small.until_commit() / PAGE;
    assert!(pages >= 2, "the journal is too small to fill up on: {pages} pages");

    let before = State::of(&scene);
    let is_as_it_was = |scene: &Scene, left: usize| {
        let wrong = scene.is_as_it_was(&before);
        assert!(wrong.is_empty(), "{left} pages left: {}\n{}", wrong.join("\n"), scene.logs());
    };
    small.fill(0);
    let (code, said) = run(&scene);
    assert_eq!(code, 3, "{said}");
    for told in ["nothing was touched", "No space left", "hint: make room: df -h"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    is_as_it_was(&scene, 0);

    for left in 1..=pages {
        small.fill(left);
        let (code, said) = run(&scene);
        assert_eq!(code, 1, "{left} pages left: {said}");
        for told in ["No space left", "hint: make room: df -h", "everything is as it was before the run"] {
            assert!(said.contains(told), "{told}: {said}");
        }
        is_as_it_was(&scene, left);
        small.make_room();
        // What could not be written down is found done already.
        let (code, said) = reseed(&scene, &small, &["recover"]);
        assert_eq!(code, 0, "{said}");
        is_as_it_was(&scene, left);
    }
    assert_eq!(run(&scene).0, 0);
    scene.judge();
}
