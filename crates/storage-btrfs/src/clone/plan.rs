//! Where each copy goes, and whether it will be able to take its place.

use reseed_core::item::{Place, Places};
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};
use reseed_storage::directory::is_free;
use reseed_storage::{Astray, Origin, below, name, place};

use super::Cloner;
use crate::btrfs::Btrfs;
use crate::check;
use crate::shared::{ReceivePlan, TERMS};
use crate::table::Table;

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its path in the end.
    pub(super) path: String,
    /// The slot that it lies in, and where in it: it goes with that one.
    pub(super) within: Option<(usize, String)>,
    /// Identity of the live subvolume that is there.
    pub(super) live: Option<String>,
}

/// The slots of these copies, the same order. Pure.
pub(super) fn slots(origins: &[Origin], places: &[Place], table: &Table) -> Result<Vec<Slot>, Astray> {
    let paths = place::mountpoints(origins, places, TERMS)?;
    let slot = |(index, path): (usize, &String)| {
        let live = table.at(path).map(|seen| seen.subvolume.uuid.clone());
        Slot { path: path.clone(), within: within(index, &paths), live }
    };
    Ok(paths.iter().enumerate().map(slot).collect())
}

/// The nearest of the paths that this one lies in.
fn within(index: usize, paths: &[String]) -> Option<(usize, String)> {
    let above = paths.iter().enumerate().filter(|(other, _)| *other != index);
    let above =
        above.filter_map(|(other, path)| Some((other, below(&paths[index], path).filter(|rest| !rest.is_empty())?)));
    above.min_by_key(|(_, rest)| rest.len()).map(|(other, rest)| (other, rest.to_owned()))
}

/// Judges the plan, as far as it is known.
pub(super) async fn check(cloner: &Cloner, cx: &CheckCx) -> Result<()> {
    let Some(plan) = cx.board().get::<ReceivePlan>() else { return Ok(()) };
    let btrfs = &plan.btrfs;
    same_host(cloner, btrfs).await?;
    let Some(places) = cx.board().get::<Places>() else { return Ok(()) };
    let origins: Vec<_> = plan.directories.iter().map(|(part, _)| Origin::of(part)).collect();
    let slots = judged(btrfs, &origins, &places.0, &plan.into).await.map_err(Error::into_refusal)?;
    for slot in slots.iter().filter(|slot| slot.within.is_none()) {
        cx.note(match slot.live {
            Some(_) => format!("a snapshot takes the place of {}", slot.path),
            None => format!("a snapshot becomes {}", slot.path),
        });
    }
    Ok(())
}

/// The slots, if every copy will be able to take its own.
pub(super) async fn judged(btrfs: &Btrfs, origins: &[Origin], places: &[Place], into: &str) -> Result<Vec<Slot>> {
    let mut paths: Vec<_> = places.iter().map(|place| place.target.as_str()).collect();
    paths.push(into);
    let table = btrfs.table(&paths).await?;
    let failed = |why: Astray| Error::failed(why.to_string()).hint(why.hint());
    let slots = slots(origins, places, &table).map_err(failed)?;
    for slot in slots.iter().filter(|slot| slot.within.is_none()) {
        same_filesystem(btrfs, &table, slot, into).await?;
        free(btrfs, &table, slot).await?;
        nothing_else(&table, slot, &slots)?;
    }
    Ok(slots)
}

async fn same_host(cloner: &Cloner, btrfs: &Btrfs) -> Result<()> {
    let Some(host) = &cloner.host else { return Ok(()) };
    if host.name() == btrfs.host().name() || host.machine().await? == btrfs.host().machine().await? {
        return Ok(());
    }
    let error = Error::refused(format!("the copy is received on {}, not on {}", btrfs.host().name(), host.name()));
    Err(error.hint("leave `on` out of the stage btrfs-clone"))
}

async fn same_filesystem(btrfs: &Btrfs, table: &Table, slot: &Slot, into: &str) -> Result<()> {
    let (path, host) = (&slot.path, btrfs.host().name());
    if table.is_mount(path) {
        let error = Error::failed(format!("{path} on {host} is a mount point, so nothing can be renamed to it"));
        return Err(error.hint(format!(
            "mount what holds it one directory higher, so that {path} is a subvolume in it and no mount point itself"
        )));
    }
    let above = name::parent(path).filter(|above| !above.is_empty()).unwrap_or("/");
    if !btrfs.host().files().exists(above).await? {
        let error = Error::failed(format!("there is no directory {above} on {host}, which is to hold {path}"));
        return Err(error.hint(format!("mkdir -p {above}")));
    }
    if check::filesystem(table, above, host)? != check::filesystem(table, into, host)? {
        let error = Error::failed(format!("copies in {into} can't take the place of {path}: another file system"));
        return Err(error.hint("receive them into the file system of the place: `into` in the stage btrfs-receive"));
    }
    Ok(())
}

/// Refuses where something is at a place that is no subvolume.
async fn free(btrfs: &Btrfs, table: &Table, slot: &Slot) -> Result<()> {
    let path = &slot.path;
    if table.at(path).is_some() || is_free(btrfs.host().as_ref(), path).await? {
        return Ok(());
    }
    let error = Error::failed(format!("{path} is a plain directory and not empty, so no subvolume can take its place"));
    Err(error.hint(format!("stop its server and move it away: `mv {path} {path}.old`")))
}

/// Refuses where the live subvolume would take others along when it steps aside.
fn nothing_else(table: &Table, slot: &Slot, slots: &[Slot]) -> Result<()> {
    let other = |path: &str| path != slot.path && !slots.iter().any(|slot| slot.path == path);
    if let Some(seen) = table.tree(&slot.path).find(|seen| other(&seen.path)) {
        let error =
            Error::failed(format!("the subvolume {} lies in {} and is no part of the copy", seen.path, slot.path));
        return Err(error.hint(format!("move it elsewhere: `mv {} …`", seen.path)));
    }
    if let Some(path) = table.mounts_inside(&slot.path).next() {
        let error = Error::failed(format!("{path} is mounted in {} and would go aside with it", slot.path));
        return Err(error.hint(format!("umount {path}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Filesystem, Subvolume, mounted};

    #[test]
    fn what_lies_in_another_copy_goes_with_it() {
        let mut table = Table::new(mounted("48 27 0:44 / /b rw - btrfs /dev/vdb rw\n"));
        let live = Subvolume {
            id: 256,
            uuid: "live".into(),
            parent: None,
            received: None,
            path: "/pg".into(),
            readonly: false,
        };
        table.add("/dev/vdb", Filesystem { uuid: "fs".into(), subvolumes: vec![live] });
        let origin = |dataset: &str| Origin { dataset: dataset.into(), mountpoint: dataset.into(), main: false };
        let place = |source: &str, target: &str| Place { source: source.into(), target: target.into() };
        let places = [place("/a/pg/data", "/b/pg/data"), place("/a/wal", "/b/wal"), place("/a/pg/ts", "/b/pg/ts")];
        let slots = slots(&[origin("/a/pg"), origin("/a/wal"), origin("/a/pg/ts")], &places, &table).unwrap();
        let slot =
            |path: &str, within, live: Option<&str>| Slot { path: path.into(), within, live: live.map(str::to_owned) };
        assert_eq!(slots[0], slot("/b/pg", None, Some("live")));
        assert_eq!(slots[1], slot("/b/wal", None, None));
        assert_eq!(slots[2], slot("/b/pg/ts", Some((0, "/ts".into())), None));
    }
}
