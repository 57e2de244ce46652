//! Every target gets its seeds, what once broke something, and for a moment simple changes of both.
//!
//! `RESEED_FUZZ_SECONDS` gives each longer; the seed of the changes is printed, and `RESEED_FUZZ_SEED`
//! repeats them.

use std::time::{Duration, Instant};

use reseed_fuzz::{TARGETS, Target};

/// What one input may take, even where eight others share the machine.
const LONGEST: Duration = Duration::from_secs(10);
/// More than all targets need together.
const MOST_KIB: u64 = 512 * 1024;

/// A xorshift generator: the changes must be the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// A few changes of one input, with parts of another.
    fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = [0, 0xff, b'\n', b' ', b'\'', b'"', b'/', b'9'][self.below(8)],
                2 => bytes.truncate(at),
                3 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() - from + 1);
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                4 => {
                    let to = at + self.below((bytes.len() - at).min(16) + 1);
                    bytes.drain(at..to);
                }
                _ => bytes.insert(at, self.below(256) as u8),
            }
            bytes.truncate(1 << 16);
        }
        bytes
    }
}

fn try_one(target: &Target, input: &[u8]) {
    let begun = Instant::now();
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    let took = begun.elapsed();
    let kept = || {
        let file = std::env::temp_dir().join(format!("reseed-fuzz-{}-{}", target.name, std::process::id()));
        std::fs::write(&file, input).map(|()| file)
    };
    assert!(outcome.is_ok(), "{} panics on {:?}", target.name, kept());
    assert!(took < LONGEST, "{} takes {took:?} for {:?}", target.name, kept());
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn fuzz(name: &str) {
    let target = reseed_fuzz::target(name).expect("a target");
    let inputs = target.inputs();
    assert!(!inputs.is_empty(), "{name} has no seeds");
    inputs.iter().for_each(|input| try_one(target, input));
    let seed = number("RESEED_FUZZ_SEED", 0x9e37_79b9_7f4a_7c15).max(1);
    println!("{name}: seed {seed}");
    let (mut dice, begun) = (Dice(seed), Instant::now());
    let budget = Duration::from_secs(number("RESEED_FUZZ_SECONDS", 1));
    let mut tried = 0u64;
    while begun.elapsed() < budget {
        try_one(target, &dice.change(&inputs));
        tried += 1;
    }
    println!("{name}: {tried} inputs, peak {:?} KiB", peak_kib());
    assert!(tried > 0 && peak_kib().is_none_or(|peak| peak < MOST_KIB), "{:?} KiB", peak_kib());
}

macro_rules! targets {
    ($($test:ident: $name:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            fuzz($name);
        })*
    };
}

targets! {
    pipeline: "pipeline";
    manifest: "manifest";
    journal: "journal";
    frames: "frames";
    guard: "guard";
    guard_job: "guard-job";
    zfs_prints: "zfs-prints";
    btrfs_prints: "btrfs-prints";
    zfs_stream: "zfs-stream";
    btrfs_stream: "btrfs-stream";
}

#[test]
fn good_seeds_are_good() {
    let mut wrong = vec![];
    for target in TARGETS {
        let good = (target.seeds)().iter().filter(|seed| (target.run)(seed)).count();
        println!("{}: {good} of {} are good", target.name, (target.seeds)().len());
        wrong.extend((good < target.good).then(|| format!("{}: only {good} of the seeds are good", target.name)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_target_is_tried() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
}
