//! What the stages of this crate share, and what they tell each other on the run's board.

use reseed_core::Format;
use reseed_core::item::{LeftOut, SnapshotPart};
use reseed_storage::Terms;

use crate::btrfs::Btrfs;

/// The format of btrfs snapshots and send streams.
pub const FORMAT: Format = Format::new("btrfs");

/// The words of btrfs.
pub(crate) static TERMS: &Terms = &Terms {
    storage: "btrfs",
    volume: "subvolume",
    key: "subvolumes",
    make: "btrfs subvolume create …",
    mount: "see where it is: btrfs subvolume show",
    example: "/path/of/copies",
};

/// As what each subvolume will be received, from the survey of `btrfs-receive`.
#[derive(Debug, Clone)]
pub(crate) struct ReceivePlan {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// The directory in which all copies are.
    pub(crate) into: String,
    /// Subvolume of the source, directory of the target that its copies are in.
    pub(crate) directories: Vec<(SnapshotPart, String)>,
}

/// What was received, from `btrfs-receive` to `btrfs-clone`.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// Snapshot of the source, path of its copy; parents before children.
    pub(crate) parts: Vec<(SnapshotPart, String)>,
    /// Subvolumes of the source whose content stayed behind.
    pub(crate) left_out: Vec<LeftOut>,
    /// The directory in which all copies are.
    pub(crate) into: String,
}

/// The name of a run's snapshot for one target: two targets of one source prune only their own.
pub(crate) fn snapshot_name(run: &str, target: &str) -> String {
    format!("{}{}", reseed_storage::name::snapshot(run), suffix(target))
}

/// What a snapshot's name ends with that was made for this target.
pub(crate) fn suffix(target: &str) -> String {
    format!(".{:08x}", crc32c::crc32c(target.as_bytes()))
}
