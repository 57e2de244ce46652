//! Whether the clones will be able to take their places, judged before anything runs.

use reseed_core::item::Places;
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};
use reseed_storage::directory::is_free;

use super::Cloner;
use crate::check;
use crate::name;
use crate::parse::{Filesystem, Mounts};
use crate::place::{Misplaced, Naming, Origin, Slot};
use crate::shared::ReceivePlan;
use crate::zfs::Zfs;

/// Judges the plan, as far as it is known.
pub(super) async fn check(cloner: &Cloner, cx: &CheckCx) -> Result<()> {
    let Some(plan) = cx.board().get::<ReceivePlan>() else { return Ok(()) };
    let zfs = &plan.zfs;
    same_host(cloner, zfs).await?;
    check::may_mount(zfs).await?;
    let Some(places) = cx.board().get::<Places>() else { return Ok(()) };
    let origins: Vec<_> = plan.datasets.iter().map(|(part, _)| Origin::of(part)).collect();
    let mounts = zfs.mounts().await?;
    let slots = cloner.naming.slots(&origins, &places.0, &mounts).map_err(|why| refuse(&why))?;
    for ((_, received), slot) in plan.datasets.iter().zip(&slots) {
        same_pool(received, slot)?;
        match slot.live {
            true => cx.note(format!("a clone takes the place of {} at {}", slot.name, slot.mountpoint)),
            false => {
                free(zfs, slot, &slots, &mounts).await?;
                cx.note(format!("a clone becomes {} at {}", slot.name, slot.mountpoint));
            }
        }
    }
    nothing_else(zfs, &slots).await
}

/// A refusal; while running, the engine and not its class says that it failed.
pub(super) fn refuse(why: &Misplaced) -> Error {
    Error::refused(why.to_string()).hint(why.hint())
}

async fn same_host(cloner: &Cloner, zfs: &Zfs) -> Result<()> {
    let Some(host) = &cloner.host else { return Ok(()) };
    if host.name() == zfs.host().name() || host.machine().await? == zfs.host().machine().await? {
        return Ok(());
    }
    let error = Error::refused(format!("the copy is received on {}, not on {}", zfs.host().name(), host.name()));
    Err(error.hint("leave `on` out of the stage zfs-clone"))
}

fn same_pool(received: &str, slot: &Slot) -> Result<()> {
    let (from, to) = (name::pool(received), name::pool(&slot.name));
    if from == to {
        return Ok(());
    }
    let error =
        Error::refused(format!("{received} can't take the place of {}: they are in different pools", slot.name));
    Err(error.hint(format!("receive it into the pool {to}: `into`, or `map`, in the stage zfs-receive")))
}

/// Refuses where something is at a place that no dataset is mounted on.
async fn free(zfs: &Zfs, slot: &Slot, slots: &[Slot], mounts: &Mounts) -> Result<()> {
    if zfs.exists(&slot.name).await? {
        let error = Error::refused(format!("{} is there, but not mounted at {}", slot.name, slot.mountpoint));
        return Err(error.hint(format!("zfs set mountpoint={} {1}; zfs mount {1}", slot.mountpoint, slot.name)));
    }
    let above = name::parent(&slot.name).unwrap_or(&slot.name);
    let made = slots.iter().any(|other| other.name == above);
    if !made && !zfs.exists(above).await? {
        let error = Error::refused(format!("there is no dataset {above}, which is to hold {}", slot.name));
        return Err(error.hint(format!("zfs create -p -o mountpoint=none {above}")));
    }
    if is_free(zfs.host().as_ref(), &slot.mountpoint).await? {
        return Ok(());
    }
    let on = mounts.of(&slot.mountpoint).map(|mount| mount.device.as_str()).unwrap_or("another file system");
    let text =
        format!("{} is a plain directory on {on} and not empty, so no dataset can take its place", slot.mountpoint);
    Err(Error::refused(text).hint(format!("move it away: `mv {0} {0}.old`", slot.mountpoint)))
}

/// Refuses where the live datasets would take others along when they step aside, and what reseed
/// can't put back as it was.
pub(super) async fn nothing_else(zfs: &Zfs, slots: &[Slot]) -> Result<()> {
    for slot in slots.iter().filter(|slot| slot.live) {
        let tree = zfs.filesystems(&slot.name).await?;
        if let Some(other) = tree.iter().find(|one| !slots.iter().any(|slot| slot.name == one.name)) {
            let error = Error::refused(format!("{} is below {} and no part of the copy", other.name, slot.name));
            return Err(error.hint(format!("move it elsewhere: `zfs rename {} …`", other.name)));
        }
        let odd = tree.iter().find(|one| one.name == slot.name && !mounted_by_property(one, slot));
        if let Some(odd) = odd {
            let text =
                format!("{} is mounted at {} though its mountpoint is {}", odd.name, slot.mountpoint, odd.mountpoint);
            let hint = format!("unmount it; zfs set mountpoint={} {}", slot.mountpoint, slot.name);
            return Err(Error::refused(text).hint(hint));
        }
    }
    Ok(())
}

fn mounted_by_property(live: &Filesystem, slot: &Slot) -> bool {
    live.mountpoint == slot.mountpoint
}

/// The slots of what was made, by the places that are asked for now.
pub(super) async fn slots(
    zfs: &Zfs,
    naming: &Naming,
    origins: &[Origin],
    places: &[reseed_core::item::Place],
) -> Result<Vec<Slot>> {
    let mounts = zfs.mounts().await?;
    let failed = |why: Misplaced| Error::failed(why.to_string()).hint(why.hint());
    naming.slots(origins, places, &mounts).map_err(failed)
}

/// A refusal that comes too late to be one.
pub(super) fn while_running(refusal: Error) -> Error {
    let failed = Error::failed(refusal.chain());
    match refusal.hint_text() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
