//! Resets in a row under load, all in one process: what they use does not grow. Three by default, as many as
//! `RESEED_SOAK` says with `make soak`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::engine::Engine;
use reseed_core::journal::{StateDirectory, Written};
use reseed_core::report::Outcome;
use reseed_lab::{Major, PairOptions, Recipe, Storage};
use reseed_tests::ready_for;
use reseed_tests::run::load;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

/// Runs until as much is kept as will be: older snapshots, the old standby, what the allocator holds.
const WARM: usize = 3;
/// Resident memory that may come to it, in KiB: what the allocator makes of the same work is not always the same.
const LEEWAY: u64 = 16 << 10;

/// What may not grow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Used {
    memory: u64,
    descriptors: usize,
    ssh: usize,
    storage: usize,
    slots: usize,
    sessions: usize,
    state: u64,
}

impl Used {
    fn now(scene: &Scene, state: &Path) -> Self {
        let left = State::of(scene);
        Self {
            memory: resident(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            ssh: clients(&scene.lab.path("")),
            storage: left.storage.len(),
            slots: left.slots.len(),
            sessions: left.sessions.len(),
            state: bytes(state),
        }
    }

    /// What is more than it was, in words.
    fn grown(&self, before: &Self) -> Vec<String> {
        let counts = [
            ("resident KiB", self.memory, before.memory + LEEWAY),
            ("descriptors", self.descriptors as u64, before.descriptors as u64),
            ("ssh processes", self.ssh as u64, before.ssh as u64),
            ("datasets and snapshots", self.storage as u64, before.storage as u64),
            ("slots", self.slots as u64, before.slots as u64),
            ("sessions", self.sessions as u64, before.sessions as u64),
            // Two journals differ by the digits in them.
            ("bytes of state", self.state, before.state + 1024),
        ];
        let more = counts.into_iter().filter(|(_, now, then)| now > then);
        more.map(|(what, now, then)| format!("{what}: {now}, and no more than {then} was fine")).collect()
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Clients of this test's servers.
fn clients(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.starts_with("ssh") && !line.starts_with("sshd") && line.contains(mark))
        .count()
}

fn bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

async fn once(scene: &mut Scene, text: &str, written: &Written) {
    scene.write_on();
    let engine = Engine::new(load(text).pipeline).journals(Arc::new(written.clone()));
    let report = engine.run().await;
    assert_eq!(report.outcome, Outcome::Done, "{report:#?}\n{}", scene.logs());
    drop(engine);
    written.state.prune(Duration::ZERO).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_in_a_row_on_btrfs_leave_nothing_more_each_time() {
    resets_in_a_row(Storage::Btrfs, ["btrfs-snapshot", "btrfs-receive"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_in_a_row_on_zfs_leave_nothing_more_each_time() {
    resets_in_a_row(Storage::Zfs, ["zfs-snapshot", "zfs-receive"]).await;
}

async fn resets_in_a_row(storage: Storage, keeping: [&'static str; 2]) {
    if !ready_for(storage) {
        return;
    }
    let resets: usize = std::env::var("RESEED_SOAK").map_or(3, |resets| resets.parse().unwrap());
    let mut scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
    let recipe = keeping.into_iter().fold(Recipe::default(), |recipe, stage| recipe.with(stage, "keep = 1"));
    let recipe = recipe.with("pg-switch", "keep_old = \"0s\"");
    let (text, state) = (scene.pipeline(&recipe), scene.lab.path("state"));
    let written = Written {
        state: StateDirectory::at(&state),
        path: "soak.toml".to_owned(),
        file: text.clone(),
        set: BTreeMap::new(),
    };
    for _ in 0..WARM {
        once(&mut scene, &text, &written).await;
    }
    let before = Used::now(&scene, state.as_ref());
    println!("warm: {before:?}");
    for reset in 1..=resets {
        once(&mut scene, &text, &written).await;
        println!("{reset}: {:?}", Used::now(&scene, state.as_ref()));
    }
    // What closes a connection does so on its own.
    let begun = Instant::now();
    loop {
        let grown = Used::now(&scene, state.as_ref()).grown(&before);
        if grown.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(70), "after {resets} resets: {grown:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    scene.judge();
}
