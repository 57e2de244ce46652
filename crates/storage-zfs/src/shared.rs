//! What the stages of this crate tell each other, on the run's board.

use reseed_core::Format;
use reseed_core::item::{LeftOut, SnapshotPart};

use reseed_storage::Terms;
pub(crate) use reseed_storage::{Outgoing, SendPlan, SourcePlan, unborn};

use crate::parse::Snapshot;
use crate::prune::Anchor;
use crate::zfs::Zfs;

/// The format of ZFS snapshots and send streams.
pub const FORMAT: Format = Format::new("zfs");

/// The words of ZFS.
pub(crate) static TERMS: &Terms = &Terms {
    storage: "ZFS",
    volume: "dataset",
    key: "datasets",
    make: "zfs create …",
    mount: "zfs mount",
    example: "pool/name",
};

/// The `zfs` of the source, with what it was asked already: from `zfs-snapshot`.
#[derive(Debug, Clone)]
pub(crate) struct SourceZfs(pub(crate) Zfs);

/// What stays on the source for the next increment to start from, from `zfs-snapshot`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchored(pub(crate) Anchor);

/// The snapshots of each dataset as they were listed when the run's own had just been taken.
#[derive(Debug, Clone)]
pub(crate) struct Listed(pub(crate) Vec<(String, Vec<Snapshot>)>);

/// As what each dataset will be received, from the survey of `zfs-receive`.
#[derive(Debug, Clone)]
pub(crate) struct ReceivePlan {
    /// Where.
    pub(crate) zfs: Zfs,
    /// Dataset of the source, dataset of the target.
    pub(crate) datasets: Vec<(SnapshotPart, String)>,
    /// Whether what arrives before a cut is kept, so that a later run can go on with it.
    pub(crate) resumable: bool,
}

/// What was received, from `zfs-receive` to `zfs-clone`.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Where.
    pub(crate) zfs: Zfs,
    /// Snapshot of the source, dataset of the target that holds it; parents before children.
    pub(crate) parts: Vec<(SnapshotPart, String)>,
    /// Datasets of the source whose content stayed behind, and the names that they would have.
    pub(crate) left_out: Vec<(LeftOut, String)>,
}
