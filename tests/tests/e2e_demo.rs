//! The demo as a user calls it.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use reseed_lab::{Storage, Tool, User};
use reseed_tests::{binary, has_s3_server, ready_for};
use tempfile::TempDir;

/// A place for the files of a demo that other tests do not share. Servers run as another user: it may write there.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o1777)).unwrap();
    home
}

/// Pools of this machine, and what is mounted or lies in the demo's place: the demo must leave none.
fn leftovers(home: &TempDir) -> BTreeSet<String> {
    let pools = Tool::new("zpool").args(["list", "-H", "-o", "name"]).run().unwrap_or_default();
    let labs = std::fs::read_dir(home.path()).unwrap().flatten();
    let labs = labs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // The socket of an SSH connection may outlive a kill; servers, pools and data must not.
    let labs = labs.filter(|name| name.starts_with("reseed-lab-"));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(&*home.path().to_string_lossy()));
    pools.lines().chain(mounts).map(str::to_owned).chain(labs).collect()
}

fn seeds_and_resets_and_cleans_up(storage: Storage, backend: &str) {
    if !ready_for(storage) {
        return;
    }
    let home = home();
    let directory = home.path().to_string_lossy().into_owned();
    let before = leftovers(&home);
    let demo = Tool::new(binary()).args(["demo", "--backend", backend, "--json", "--size", "64M"]);
    let output = demo.env("TMPDIR", directory).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["backend"], backend);
    assert_eq!((&told["seed"]["outcome"], &told["seed"]["full"]), (&"done".into(), &true.into()), "{told}");
    // An incremental base backup needs PostgreSQL 17, which the tests fetch.
    assert_eq!((&told["reset"]["outcome"], &told["reset"]["full"]), (&"done".into(), &false.into()), "{told}");
    assert!(told["reset"]["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told}");
    assert!(told["rows_primary"].as_u64().is_some_and(|rows| rows > 0));
    assert_eq!(told["rows_primary"], told["rows_standby"]);
    assert_eq!(told["streaming"], true);
    let receive = if backend == "basebackup" { "dir-receive".to_owned() } else { format!("{backend}-receive") };
    assert!(talk.contains(&receive), "the steps are shown: {talk}");
    assert_eq!(leftovers(&home), before);
}

fn cleans_up_when_interrupted(storage: Storage, backend: &str) {
    if !ready_for(storage) {
        return;
    }
    let home = home();
    let directory = home.path().to_string_lossy().into_owned();
    let before = leftovers(&home);
    // Early (while it sets the stage), in the midst of a run, and late.
    for seconds in ["1", "4", "7"] {
        let timeout = Tool::new("timeout").args(["--signal", "TERM", seconds]).env("TMPDIR", &directory);
        let output = timeout
            .arg(binary().to_string_lossy())
            .args(["demo", "--backend", backend, "--size", "64M"])
            .output()
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        // 124 is what `timeout` says whatever its child says; a demo that was done sooner is fine too.
        assert!(matches!(output.status.code(), Some(124 | 0)), "{:?}: {talk}", output.status);
        assert!(!talk.contains("error:") && !talk.contains("could not be taken back"), "{talk}");
        assert_eq!(leftovers(&home), before, "{talk}");
    }
}

fn cleans_up_when_killed(storage: Storage, backend: &str) {
    if !ready_for(storage) {
        return;
    }
    let home = home();
    let directory = home.path().to_string_lossy().into_owned();
    let before = leftovers(&home);
    let timeout = Tool::new("timeout").args(["--signal", "KILL", "5"]).env("TMPDIR", directory);
    timeout.arg(binary().to_string_lossy()).args(["demo", "--backend", backend, "--size", "64M"]).output().unwrap();
    let begun = std::time::Instant::now();
    while leftovers(&home) != before {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", leftovers(&home));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// By way of a repository: put and got twice, and once more with the primary stopped.
fn goes_through_a_repository(storage: Storage, backend: &str, via: &str) {
    if !ready_for(storage) || (via == "s3" && !has_s3_server()) {
        return;
    }
    let home = home();
    let directory = home.path().to_string_lossy().into_owned();
    let before = leftovers(&home);
    let demo = Tool::new(binary()).args(["demo", "--backend", backend, "--via", via, "--json", "--size", "64M"]);
    let output = demo.env("TMPDIR", directory).output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["backend"], &told["via"]), (&backend.into(), &via.into()));
    let runs = [("/puts/0", true), ("/seed", true), ("/puts/1", false), ("/reset", false), ("/puts/2", false)];
    for (run, full) in runs.into_iter().chain([("/alone/seed", true)]) {
        let run = told.pointer(run).unwrap();
        assert_eq!((&run["outcome"], &run["full"]), (&"done".into(), &full.into()), "{told}");
    }
    // What was put is what was got, and an increment is less than the whole.
    assert_eq!(told["puts"][0]["to_guid"], told["seed"]["to_guid"]);
    assert_eq!(told["puts"][1]["to_guid"], told["reset"]["to_guid"]);
    assert_eq!(told["puts"][2]["to_guid"], told["alone"]["seed"]["to_guid"]);
    assert!(told["puts"][1]["stream_bytes"].as_u64() < told["puts"][0]["stream_bytes"].as_u64(), "{told}");
    assert!(told["rows_primary"].as_u64().is_some_and(|rows| rows > 0));
    assert_eq!((&told["rows_primary"], &told["streaming"]), (&told["rows_standby"], &true.into()), "{told}");
    assert_eq!((&told["alone"]["rows"], &told["alone"]["serving"]), (&told["rows_primary"], &true.into()), "{told}");
    assert_eq!(told["alone"]["seed"]["streaming"], false, "{told}");
    assert_eq!(leftovers(&home), before);
}

macro_rules! demos {
    ($($module:ident: $storage:expr, $backend:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn the_demo_seeds_and_resets_and_cleans_up() {
                seeds_and_resets_and_cleans_up($storage, $backend);
            }

            #[test]
            fn an_interrupted_demo_cleans_up() {
                cleans_up_when_interrupted($storage, $backend);
            }

            #[test]
            fn a_killed_demo_cleans_up_too() {
                cleans_up_when_killed($storage, $backend);
            }
        }
    )*};
}

demos! {
    zfs: Storage::Zfs, "zfs";
    btrfs: Storage::Btrfs, "btrfs";
    basebackup: Storage::Directories, "basebackup";
}

#[test]
fn zfs_through_a_bucket() {
    goes_through_a_repository(Storage::Zfs, "zfs", "s3");
}

#[test]
fn zfs_through_a_directory() {
    goes_through_a_repository(Storage::Zfs, "zfs", "file");
}

#[test]
fn btrfs_through_a_bucket() {
    goes_through_a_repository(Storage::Btrfs, "btrfs", "s3");
}

#[test]
fn btrfs_through_a_directory() {
    goes_through_a_repository(Storage::Btrfs, "btrfs", "file");
}

#[test]
fn a_base_backup_goes_through_no_repository_and_the_demo_says_so() {
    let demo = Tool::new(binary()).args(["demo", "--backend", "basebackup", "--via", "s3", "--json"]);
    let output = demo.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains("only snapshots") && talk.contains("hint: take --backend zfs"), "{talk}");
}

#[test]
fn without_root_the_demo_picks_what_needs_none_and_says_so() {
    if !ready_for(Storage::Directories) {
        return;
    }
    let home = home();
    // Whom the servers know only because they run as that user.
    let user = User::named("nobody").unwrap();
    let program = home.path().join("reseed");
    std::fs::copy(binary(), &program).unwrap();
    let before = leftovers(&home);
    let demo = Tool::new(program).as_user(&user).args(["demo", "--json", "--size", "32M"]);
    let output = demo.env("TMPDIR", home.path().to_string_lossy()).env("HOME", "/nowhere").output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    assert!(talk.contains("backend basebackup: the best without root"), "{talk}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["backend"], &told["streaming"]), (&"basebackup".into(), &true.into()), "{told}");
    assert_eq!(told["rows_primary"], told["rows_standby"]);
    assert_eq!(leftovers(&home), before);
}
