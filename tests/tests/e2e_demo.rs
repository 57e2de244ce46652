//! The demo as a user calls it.

use std::collections::BTreeSet;

use reseed_lab::Tool;
use reseed_tests::{binary, ready};

/// Pools and lab directories of this machine: the demo must leave neither.
fn leftovers() -> BTreeSet<String> {
    let pools = Tool::new("zpool").args(["list", "-H", "-o", "name"]).run().unwrap_or_default();
    let labs = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let labs = labs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let labs = labs.filter(|name| name.starts_with("reseed-lab-"));
    pools.lines().map(str::to_owned).chain(labs).collect()
}

#[test]
fn the_demo_seeds_and_resets_and_cleans_up() {
    if !ready() {
        return;
    }
    let before = leftovers();
    let demo = Tool::new(binary()).args(["demo", "--backend", "zfs", "--json", "--size", "64M"]);
    let output = demo.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["backend"], "zfs");
    assert_eq!((&told["seed"]["outcome"], &told["seed"]["full"]), (&"done".into(), &true.into()), "{told}");
    assert_eq!((&told["reset"]["outcome"], &told["reset"]["full"]), (&"done".into(), &false.into()), "{told}");
    assert!(told["reset"]["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told}");
    assert!(told["rows_primary"].as_u64().is_some_and(|rows| rows > 0));
    assert_eq!(told["rows_primary"], told["rows_standby"]);
    assert_eq!(told["streaming"], true);
    assert!(talk.contains("zfs-receive"), "the steps are shown: {talk}");
    assert_eq!(leftovers(), before);
}

#[test]
fn an_interrupted_demo_cleans_up() {
    if !ready() {
        return;
    }
    let before = leftovers();
    // Early (while it sets the stage), in the midst of a run, and late.
    for seconds in ["1", "4", "7"] {
        let timeout = Tool::new("timeout").args(["--signal", "TERM", seconds]);
        let output = timeout.arg(binary().to_string_lossy()).args(["demo", "--size", "64M"]).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        // 124 is what `timeout` says whatever its child says; a demo that was done sooner is fine too.
        assert!(matches!(output.status.code(), Some(124 | 0)), "{:?}: {talk}", output.status);
        assert!(!talk.contains("error:") && !talk.contains("could not be taken back"), "{talk}");
        assert_eq!(leftovers(), before, "{talk}");
    }
}

#[test]
fn a_killed_demo_cleans_up_too() {
    if !ready() {
        return;
    }
    let before = leftovers();
    let timeout = Tool::new("timeout").args(["--signal", "KILL", "5"]);
    timeout.arg(binary().to_string_lossy()).args(["demo", "--size", "64M"]).output().unwrap();
    let begun = std::time::Instant::now();
    while leftovers() != before {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", leftovers());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
