//! Throw-away file systems, whatever their storage.

use std::path::Path;

use reseed_core::host::shell_quote;

use crate::process::{Tool, make_directory};
use crate::{Btrfs, Lab, LabError, Result, Zfs};

/// A storage that a pair can lie on. What differs between storages is one arm for each in this file
/// and in the recipe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// ZFS: the kernel's, or in user space.
    #[default]
    Zfs,
    /// btrfs on a loop device.
    Btrfs,
    /// Plain directories, for PostgreSQL's own base backup. Needs no root.
    Directories,
}

/// Ends every process whose working directory lies in the lab: servers, whoever started them.
const SWEEP: &str = r#"in_lab() { for p in /proc/[0-9]*; do case $(readlink "$p/cwd" 2>/dev/null) in "$1"/*) echo "${p#/proc/}";; esac; done; }; for s in QUIT QUIT KILL; do l=$(in_lab "$1"); [ -n "$l" ] || break; kill -$s $l 2>/dev/null; i=0; while [ -n "$(in_lab "$1")" ] && [ $i -lt 30 ]; do sleep 0.1; i=$((i+1)); done; done"#;

/// A file system in a file.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its storage.
    pub storage: Storage,
    /// Its name; where the storage has no names, its mount point.
    pub name: String,
    /// Where its root is mounted.
    pub mountpoint: String,
}

impl Storage {
    /// Makes a file system of at most `bytes`, mounted in the lab's directory under `letter`.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn pool(self, lab: &Lab, letter: &str, bytes: u64) -> Result<Pool> {
        match self {
            Self::Zfs => Zfs::in_lab(lab)?.pool(lab, letter, bytes),
            Self::Btrfs => Btrfs::pool(lab, letter, bytes),
            Self::Directories => directories(lab, letter),
        }
    }

    /// Its name as people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zfs => "ZFS",
            Self::Btrfs => "btrfs",
            Self::Directories => "plain directories",
        }
    }
}

impl Pool {
    /// The full name of a dataset or subvolume in the pool.
    pub fn dataset(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// A path under the pool's mount point.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.mountpoint)
    }

    /// Makes a dataset or subvolume; `properties` (`name=value`) are those of ZFS.
    ///
    /// # Errors
    /// When the storage refuses.
    pub fn create(&self, name: &str, properties: &[&str]) -> Result<String> {
        let dataset = self.dataset(name);
        match self.storage {
            Storage::Zfs => {
                let options = properties.iter().flat_map(|property| ["-o", property]);
                Tool::new("zfs").arg("create").args(options).arg(&dataset).run()?;
            }
            Storage::Btrfs => {
                Tool::new("btrfs").args(["subvolume", "create"]).arg(&dataset).run()?;
            }
            Storage::Directories => make_directory(Path::new(&dataset))?,
        }
        Ok(dataset)
    }

    /// Everything that a run could leave behind, one line each: a name, then what is to stay as it is,
    /// between tabs. Names of snapshots hold an `@`.
    ///
    /// # Errors
    /// When the storage refuses.
    pub fn inventory(&self) -> Result<Vec<String>> {
        match self.storage {
            Storage::Zfs => {
                let list = |kind: &str, columns: &str| {
                    let list = Tool::new("zfs").args(["list", "-H", "-r", "-t", kind, "-o", columns]);
                    Ok::<_, LabError>(list.arg(&self.name).run()?.lines().map(str::to_owned).collect::<Vec<_>>())
                };
                let mut all = list("filesystem", "name,mountpoint,mounted,readonly")?;
                all.extend(list("snapshot", "name,userrefs")?);
                Ok(all)
            }
            Storage::Btrfs => Btrfs::inventory(self),
            Storage::Directories => {
                let find = Tool::new("find").arg(&self.mountpoint).args(["-maxdepth", "3", "-mindepth", "1"]);
                Ok(find.args(["-printf", "%p\t%y\n"]).run()?.lines().map(str::to_owned).collect())
            }
        }
    }
}

/// A directory that stands for a file system; it goes with the lab.
fn directories(lab: &Lab, letter: &str) -> Result<Pool> {
    let directory = lab.directory().join(letter);
    make_directory(&directory)?;
    sweep(lab)?;
    let mountpoint = text(&directory);
    Ok(Pool { storage: Storage::Directories, name: mountpoint.clone(), mountpoint })
}

/// Has the guard end every process that works in the lab, before what was added earlier.
pub(crate) fn sweep(lab: &Lab) -> Result<()> {
    lab.guard().add(&script(SWEEP, &lab.directory().to_string_lossy()))
}

/// A shell command that runs a script with one argument.
pub(crate) fn script(text: &str, arg: &str) -> String {
    format!("sh -c {} sh {}", shell_quote(text), shell_quote(arg))
}

/// A path as text.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
