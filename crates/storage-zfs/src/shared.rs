//! What the stages of this crate tell each other, on the run's board.

use reseed_core::Format;
use reseed_core::item::{LeftOut, SnapshotPart};
use reseed_core::stage::CheckCx;

use reseed_storage::Terms;
pub(crate) use reseed_storage::{Outgoing, SendPlan, SourcePlan, unborn};

use crate::parse::Snapshot;
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

/// How a copy was begun. Its increments keep to this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The dataset on the source.
    pub(crate) source: String,
    /// The dataset on the target.
    pub(crate) dataset: String,
    /// The flags, between blanks; `-` for none.
    pub(crate) flags: String,
    /// The record size of the source in bytes, where that is known.
    pub(crate) recordsize: Option<String>,
    /// Identity of the key of what comes raw, where that is known.
    pub(crate) key: Option<String>,
}

/// What copies say of how they were begun, from the receiver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chains(pub(crate) Vec<Chain>);

impl Chains {
    /// What the copy of a dataset of the source says.
    pub(crate) fn of(cx: &CheckCx, source: &str) -> Option<Chain> {
        let all = cx.board().get::<Chains>()?;
        all.0.iter().find(|chain| chain.source == source).cloned()
    }
}

/// How each dataset is sent in this run, from the sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentWith(pub(crate) Vec<Chain>);

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
