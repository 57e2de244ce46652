//! What a stream of several snapshots brings. Those that came whole where it was cut behind them stay in front of
//! the part that a later run goes on with; where the source can't do that any more, they are in the way of what it
//! sends instead.

use reseed_core::Result;
use reseed_storage::name::run_of;

use crate::parse::Snapshot;
use crate::zfs::Zfs;

/// The property of a copy that names them, by their GUIDs, which are never another snapshot's.
const PROPERTY: &str = "reseed:cut";
/// How many it may name: a property has at most 8 KiB.
pub(crate) const MOST: usize = 400;

/// Notes that these came so.
pub(crate) async fn note(zfs: &Zfs, dataset: &str, came: &[Snapshot]) -> Result<()> {
    let guids: Vec<_> = came.iter().map(|one| one.guid.as_str()).collect();
    Ok(zfs.set(dataset, PROPERTY, &guids.join(",")).await?)
}

/// Whether all of these came so, and none by a run that has succeeded.
pub(crate) async fn are_all(zfs: &Zfs, dataset: &str, snapshots: &[Snapshot]) -> Result<bool> {
    let told = zfs.properties(dataset, PROPERTY).await?.remove(PROPERTY).filter(|own| own.source == "local");
    let named: Vec<_> = told.iter().flat_map(|own| own.value.split(',')).collect();
    Ok(snapshots.iter().all(|one| named.contains(&one.guid.as_str())))
}

/// Marks what a copy got of reseed's snapshots for other targets, in a stream that brings these: here they are this
/// target's, and are pruned as such.
pub(crate) async fn mark(zfs: &Zfs, all: &[Snapshot], between: &[String], target: &str) -> Result<()> {
    let is_ours = |one: &&Snapshot| !one.is_bookmark() && one.target.is_none() && run_of(one.short()).is_some();
    let ours = all.iter().filter(is_ours).filter(|one| between.contains(&one.guid));
    let ours: Vec<_> = ours.map(|one| one.name.as_str()).collect();
    Ok(zfs.set_all(&ours, "reseed:target", target).await?)
}
