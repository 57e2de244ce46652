//! Throw-away btrfs file systems on loop devices.

use std::fs::File;

use crate::pool::{Pool, Storage, script, sweep, text};
use crate::process::{Tool, make_directory, set_mode};
use crate::{Lab, LabError, Result};

/// Unmounted again and again until it is gone: what ran on it may still be dying. The loop device
/// goes with the mount.
const UNMOUNT: &str = r#"i=0; while grep -qF " $1 btrfs " /proc/self/mounts && [ $i -lt 100 ]; do umount "$1" 2>/dev/null || sleep 0.2; i=$((i+1)); done; ! grep -qF " $1 btrfs " /proc/self/mounts || umount -l "$1""#;

/// Makes btrfs file systems.
#[derive(Debug)]
pub struct Btrfs;

impl Btrfs {
    /// Makes a file system of at most `bytes`, mounted in the lab's directory under `letter`.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn pool(lab: &Lab, letter: &str, bytes: u64) -> Result<Pool> {
        let (file, directory) = (lab.directory().join(format!("btrfs-{letter}")), lab.directory().join(letter));
        let made = File::create(&file).and_then(|made| made.set_len(bytes));
        made.map_err(LabError::io(format!("making {}", file.display())))?;
        make_directory(&directory)?;
        let mountpoint = text(&directory);
        lab.guard().add(&script(UNMOUNT, &mountpoint))?;
        sweep(lab)?;
        // It takes names in the mount table that are no paths for files of its working directory.
        let make = Tool::new("mkfs.btrfs").current_directory(lab.directory());
        make.args(["-q", &text(&file)]).run()?;
        Tool::new("mount").args(["-o", "loop,noatime", &text(&file), &mountpoint]).run().map_err(no_loop)?;
        set_mode(&directory, 0o755)?;
        Ok(Pool { storage: Storage::Btrfs, name: mountpoint.clone(), mountpoint })
    }

    /// Subvolumes, whether read-only and whether received; and what else lies where reseed works.
    pub(crate) fn inventory(pool: &Pool) -> Result<Vec<String>> {
        let list = |options: &[&str]| {
            let list = Tool::new("btrfs").args(["subvolume", "list"]).args(options.iter().copied());
            let text = list.arg(&pool.mountpoint).run()?;
            let paths = text.lines().filter_map(|line| line.split_once(" path ")).map(|(_, path)| pool.dataset(path));
            Ok::<_, LabError>(paths.collect::<Vec<_>>())
        };
        let readonly = list(&["-r"])?;
        let named = |path: String| match path.rsplit_once('/') {
            Some((directory, short)) if readonly.contains(&path) => format!("{directory}@{short}\treadonly"),
            _ => format!("{path}\twritable"),
        };
        let mut all: Vec<_> = list(&[])?.into_iter().map(named).collect();
        let find = Tool::new("find").arg(&pool.mountpoint).args(["-xdev", "-maxdepth", "3", "-mindepth", "1"]);
        // Subvolumes have been told; these are the directories around them and files beside them.
        let around = find.args(["!", "-inum", "256", "!", "-inum", "2", "-printf", "%p\t%y\n"]).run()?;
        all.extend(around.lines().map(str::to_owned));
        Ok(all)
    }
}

fn no_loop(error: LabError) -> LabError {
    LabError::Missing {
        what: format!("btrfs on a loop device ({error})"),
        hint: "load the kernel modules: modprobe btrfs loop".to_owned(),
    }
}
