//! Fuzz targets: what comes from outside (a file, a wire, a repository, another program, a stranger with
//! a key) ends in a result. No panic, no hang, memory bounded.
//!
//! `make fuzz SECONDS=300` gives each target that long under libFuzzer, guided by coverage, with the one
//! stable toolchain: the passes are rustc's own, and safe code needs no sanitizer. The tests give each a
//! moment without it: the seeds, what once broke something (`corpus/NAME/`), and simple changes of both.

mod guard;
mod printed;
mod stored;

use std::path::PathBuf;

/// One thing that takes bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its directory in `corpus/`.
    pub name: &'static str,
    /// Takes anything, and says whether that was good. Panics where what must hold does not.
    pub run: fn(&[u8]) -> bool,
    /// What good inputs look like, and what is nearly good.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many of the seeds are good, at least: changes of what nobody accepts find little.
    pub good: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "pipeline", run: stored::pipeline, seeds: stored::pipelines, good: 1 },
    Target { name: "manifest", run: stored::manifest, seeds: stored::manifests, good: 2 },
    Target { name: "journal", run: stored::journal, seeds: stored::journals, good: 3 },
    Target { name: "frames", run: stored::frames, seeds: stored::framed, good: 2 },
    Target { name: "guard", run: guard::line, seeds: guard::lines, good: 5 },
    Target { name: "guard-job", run: guard::job, seeds: guard::jobs, good: 5 },
    Target { name: "zfs-prints", run: printed::zfs, seeds: printed::of_zfs, good: 7 },
    Target { name: "btrfs-prints", run: printed::btrfs, seeds: printed::of_btrfs, good: 4 },
    Target { name: "zfs-stream", run: stored::zfs_stream, seeds: stored::zfs_streams, good: 1 },
    Target { name: "btrfs-stream", run: stored::btrfs_stream, seeds: stored::btrfs_streams, good: 0 },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Seeds, and inputs that once broke something.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let kept = files.filter_map(|file| std::fs::read(file.path()).ok());
        (self.seeds)().into_iter().chain(kept).collect()
    }
}

/// Runs what waits for nothing but memory.
fn now<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    runtime.block_on(work)
}
