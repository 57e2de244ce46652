//! What the storages of reseed share, whatever their file system: which volumes hold the data and
//! where their copies go, how the things of a run are called, what is kept and for how long.
//!
//! A *volume* is what a storage snapshots as one: a dataset of ZFS, a subvolume of btrfs. Their names
//! are paths in either case: parts between `/`, those inside a volume below its name.

pub mod begun;
pub mod busy;
pub mod directory;
pub mod ends;
pub mod keep;
pub mod layout;
pub mod mapping;
pub mod mirror;
pub mod mounts;
pub mod name;
pub mod place;
pub mod plan;
pub mod pristine;
pub mod room;

pub use layout::{Layout, Part, Uncovered};
pub use mapping::{Goal, Mapping, Unmapped};
pub use mirror::Mirror;
pub use mounts::{Mount, Mounts, below};
pub use place::{Astray, Origin};
pub use plan::{Outgoing, SendPlan, SourcePlan, unborn};

/// The words of one storage, for what is said to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The file system, as people call it.
    pub storage: &'static str,
    /// What it snapshots as one, for example `dataset`.
    pub volume: &'static str,
    /// The key of the pipeline file that lists volumes.
    pub key: &'static str,
    /// The command that makes a volume.
    pub make: &'static str,
    /// The command that mounts a volume.
    pub mount: &'static str,
    /// How a volume's name is written, for example `pool/name`.
    pub example: &'static str,
}

#[cfg(test)]
pub(crate) static TESTED: &Terms = &Terms {
    storage: "TESTFS",
    volume: "volume",
    key: "volumes",
    make: "mkvol …",
    mount: "mount …",
    example: "pool/name",
};
