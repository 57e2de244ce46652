//! What the stages of a storage tell each other before anything runs, on the run's board.

use std::sync::Arc;

use reseed_core::host::Host;
use reseed_core::item::{Outlook, SnapshotPart};
use reseed_core::{Error, Result};

use crate::{Layout, name};

/// The source's volumes, from the survey of the stage that takes the snapshots.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Where they are.
    pub host: Arc<dyn Host>,
    /// Which they are.
    pub layout: Layout,
}

/// Volumes as parts of a snapshot that has not been taken yet.
pub fn unborn(layout: &Layout) -> Vec<SnapshotPart> {
    let parts = layout.parts.iter().map(|part| SnapshotPart {
        dataset: part.dataset.clone(),
        mountpoint: part.mountpoint.clone(),
        snapshot: String::new(),
        guid: String::new(),
        main: part.main,
    });
    parts.collect()
}

/// From where each volume will be sent, from the survey of the stage that sends.
#[derive(Debug, Clone)]
pub struct SendPlan(pub Vec<Outgoing>);

impl SendPlan {
    /// What all of it comes to.
    pub fn outlook(&self) -> Outlook {
        let bytes = self.0.iter().map(|outgoing| outgoing.bytes).sum();
        Outlook { whole: self.0.iter().any(|outgoing| outgoing.base.is_none()), bytes }
    }

    /// From where one volume will be sent.
    pub fn of(&self, dataset: &str) -> Option<&Outgoing> {
        self.0.iter().find(|outgoing| outgoing.dataset == dataset)
    }
}

/// From where one volume will be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The volume on the source.
    pub dataset: String,
    /// Identity of the snapshot that the increment starts from; `None` for the whole.
    pub base: Option<String>,
    /// About how many bytes, where that is known.
    pub bytes: Option<u64>,
}

impl SourcePlan {
    /// Refuses where a volume of the source would be received into its own tree.
    ///
    /// # Errors
    /// The refusal, or that a machine can't be asked which it is.
    pub async fn differs_from<'t>(&self, targets: impl Iterator<Item = &'t str>, host: &Arc<dyn Host>) -> Result<()> {
        let met =
            |source: &str, target: &str| name::under(source, target).is_some() || name::under(target, source).is_some();
        let overlap = |target: &'t str| {
            let mut parts = self.layout.parts.iter();
            parts.find(|part| met(&part.dataset, target)).map(|part| (&part.dataset, target))
        };
        let Some((from, to)) = targets.into_iter().find_map(overlap) else { return Ok(()) };
        let one = Arc::ptr_eq(&self.host, host);
        if one || self.host.machine().await? == host.machine().await? {
            let error = Error::refused(format!("{from} would be received as {to} on the same machine"));
            return Err(error.hint("receive it elsewhere, or on another host: see `on` and `into`"));
        }
        Ok(())
    }
}

/// The refusal of what has no room.
pub fn no_room(what: &str, needed: u64, available: u64) -> Error {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (needed, there) = (mib(needed), mib(available));
    Error::failed(format!("{what} needs about {needed} MiB and {there} MiB are available"))
}
