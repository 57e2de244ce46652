//! What the stages of this crate tell each other, on the run's board.

use std::sync::Arc;

use reseed_core::Format;
use reseed_core::host::Host;
use reseed_core::item::{LeftOut, SnapshotPart};

use crate::layout::Layout;
use crate::zfs::Zfs;

/// The format of ZFS snapshots and send streams.
pub const FORMAT: Format = Format::new("zfs");

/// The source's datasets, from the survey of `zfs-snapshot`.
#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    /// Where they are.
    pub(crate) host: Arc<dyn Host>,
    /// Which they are.
    pub(crate) layout: Layout,
}

/// Datasets as parts of a snapshot that has not been taken yet.
pub(crate) fn unborn(layout: &Layout) -> Vec<SnapshotPart> {
    let parts = layout.parts.iter().map(|part| SnapshotPart {
        dataset: part.dataset.clone(),
        mountpoint: part.mountpoint.clone(),
        snapshot: String::new(),
        guid: String::new(),
        main: part.main,
    });
    parts.collect()
}

/// From where each dataset will be sent, from the survey of `zfs-send`.
#[derive(Debug, Clone)]
pub(crate) struct SendPlan(pub(crate) Vec<Outgoing>);

/// From where one dataset will be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// The dataset on the source.
    pub(crate) dataset: String,
    /// Identity of the snapshot that the increment starts from; `None` for the whole.
    pub(crate) base: Option<String>,
    /// About how many bytes, where that is known.
    pub(crate) bytes: Option<u64>,
}

/// As what each dataset will be received, from the survey of `zfs-receive`.
#[derive(Debug, Clone)]
pub(crate) struct ReceivePlan {
    /// Where.
    pub(crate) zfs: Zfs,
    /// Dataset of the source, dataset of the target.
    pub(crate) datasets: Vec<(SnapshotPart, String)>,
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
