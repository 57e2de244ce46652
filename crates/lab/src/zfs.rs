//! Throw-away ZFS pools in files.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::pool::{Pool, Storage, script, sweep};
use crate::process::{Tool, make_directory, wait_until};
use crate::{Lab, LabError, Result};

/// Where a zfs-fuse that a lab started leaves its pid: the last lab that goes ends it.
const FUSE_PID: &str = "/run/reseed-lab-zfs-fuse.pid";
/// Labs start and end zfs-fuse one at a time.
const FUSE_LOCK: &str = "/run/reseed-lab-zfs-fuse.lock";

/// A pool is destroyed again and again until it is gone: what ran on it may still be dying.
const DESTROY: &str = r#"i=0; while zpool list "$1" >/dev/null 2>&1 && [ $i -lt 100 ]; do zpool destroy -f "$1" 2>/dev/null || sleep 0.2; i=$((i+1)); done"#;

/// Ends zfs-fuse if a lab started it and no pool is left; never a process that got its number later. It is gone when
/// this returns: until then it keeps the next one from starting.
const STOP_FUSE: &str = r#"[ -s "$1" ] && l=$(zpool list -H -o name 2>/dev/null) && [ -z "$l" ] && p=$(cat "$1") && [ "$(cat "/proc/$p/comm")" = zfs-fuse ] && kill "$p" && rm -f "$1" && i=0 && while [ -d "/proc/$p" ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done"#;

/// Starts zfs-fuse if nothing answers, again while one that was killed has not quite gone. A pid file of it would keep
/// the new one from starting.
const START_FUSE: &str = r#"mkdir -p /run/lock /run/zfs; i=0; until zpool list >/dev/null 2>&1; do rm -f "$1"; zfs-fuse -p "$1" -a 3600 -e 3600 >/dev/null 2>&1 || { [ $i -lt 100 ] || exit 1; sleep 0.1; }; i=$((i+1)); done"#;

/// A working ZFS and the pools that this lab made on it.
#[derive(Debug)]
pub struct Zfs {
    root: PathBuf,
}

impl Zfs {
    /// Uses the ZFS that the machine runs; where none does, starts zfs-fuse, which is ended with the
    /// last lab that uses it.
    ///
    /// # Errors
    /// When there is no ZFS to start.
    pub fn in_lab(lab: &Lab) -> Result<Self> {
        lab.guard().add(&flock(&script(STOP_FUSE, FUSE_PID)))?;
        Tool::new("flock").args(["-o", FUSE_LOCK, "sh", "-c", START_FUSE, "sh", FUSE_PID]).run().map_err(no_zfs)?;
        wait_until("an answer of zpool", Duration::from_secs(10), || Ok(answers()))?;
        Ok(Self { root: lab.directory().to_owned() })
    }

    /// Makes a pool of at most `bytes`, mounted in the lab's directory under `letter`.
    ///
    /// # Errors
    /// When the pool can't be made.
    pub fn pool(&self, lab: &Lab, letter: &str, bytes: u64) -> Result<Pool> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reseed_{}_{count}_{letter}", std::process::id());
        let file = self.root.join(format!("pool-{letter}"));
        let mountpoint = self.root.join(letter).to_string_lossy().into_owned();
        let made = File::create(&file).and_then(|made| made.set_len(bytes));
        made.map_err(LabError::io(format!("making {}", file.display())))?;
        make_directory(self.root.join(letter).as_path())?;
        lab.guard().add(&script(DESTROY, &name))?;
        sweep(lab)?;
        let set = |option: &str| ["-O".to_owned(), option.to_owned()];
        let create = Tool::new("zpool").args(["create", "-o", "cachefile=none"]);
        let create = create.args(set("atime=off")).args(set(&format!("mountpoint={mountpoint}")));
        create.arg(&name).arg(file.to_string_lossy()).run()?;
        Ok(Pool { storage: Storage::Zfs, name, mountpoint })
    }
}

fn answers() -> bool {
    Tool::new("zpool").arg("list").output().is_ok_and(|output| output.status.success())
}

fn no_zfs(error: LabError) -> LabError {
    LabError::Missing {
        what: format!("a working ZFS ({error})"),
        hint: "apt-get install zfs-fuse, or load the kernel module: modprobe zfs".to_owned(),
    }
}

fn flock(command: &str) -> String {
    format!("flock -o {FUSE_LOCK} {command}")
}
