//! What other stages of the run have found out already.

use std::sync::Arc;

use reseed_core::Result;
use reseed_core::host::Host;
use reseed_core::stage::CheckCx;

use crate::parse::Snapshot;
use crate::shared::{Listed, ReceivePlan, SourceZfs};
use crate::zfs::Zfs;

/// The source's `zfs`, as the stage that takes the snapshots has it.
pub(crate) fn zfs_of(host: &Arc<dyn Host>, cx: &CheckCx) -> Zfs {
    let known = cx.board().get::<SourceZfs>().filter(|known| Arc::ptr_eq(known.0.host(), host));
    known.map_or_else(|| Zfs::on(host), |known| known.0.clone())
}

/// The target's `zfs`, as the stage that receives has it.
pub(super) fn receiving(host: &Arc<dyn Host>, cx: &CheckCx) -> Zfs {
    let known = cx.board().get::<ReceivePlan>().filter(|known| Arc::ptr_eq(known.zfs.host(), host));
    known.map_or_else(|| Zfs::on(host), |known| known.zfs.clone())
}

/// The snapshots of a dataset, as they were listed when the one that is sent was taken.
pub(super) async fn listed(zfs: &Zfs, dataset: &str, cx: &CheckCx) -> Result<Vec<Snapshot>> {
    let known = cx.board().get::<Listed>();
    match known.and_then(|known| known.0.iter().find(|(name, _)| name == dataset).map(|(_, all)| all.clone())) {
        Some(all) => Ok(all),
        None => Ok(zfs.snapshots(dataset).await?),
    }
}
