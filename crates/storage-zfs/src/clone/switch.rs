//! The switch: the live datasets step aside and the copies take their names and places.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::item::{Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_core::undo::Chore;
use reseed_core::{Error, Result};

use super::make::Copies;
use super::plan;
use crate::aside::{Expire, Live};
use crate::fresh;
use crate::name;
use crate::place::Slot;
use crate::undo::{DestroyDataset, RemoveDirectory};
use crate::zfs::Zfs;

#[async_trait]
impl Volume for Copies {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(self.zfs.host())
    }

    fn locate(&self, source: &str) -> Option<String> {
        fresh::locate(&self.mirrors, source)
    }

    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()> {
        let origins: Vec<_> = self.copies.iter().map(|copy| copy.origin.clone()).collect();
        let slots = plan::slots(&self.zfs, &self.naming, &origins, &placement.places).await?;
        plan::nothing_else(&self.zfs, &slots).await.map_err(while_running)?;
        let seats = self.seats(&slots).await?;
        for copy in self.copies.iter().rev() {
            self.zfs.unmount(&copy.name).await?;
        }
        for live in &lives(&self.zfs, &slots).await? {
            live.step_aside(&self.zfs, cx).await?;
            live.after_commit(&self.zfs, placement.keep_old, cx);
            cx.after_commit(Expire { zfs: self.zfs.clone(), live: live.root.clone() });
        }
        self.sit_down(&slots, &seats, cx).await?;
        cx.after_commit(self.cleanup());
        Ok(())
    }
}

/// A refusal that comes too late to be one.
fn while_running(refusal: Error) -> Error {
    let failed = Error::failed(refusal.chain());
    match refusal.hint_text() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// How a dataset is mounted, taken from the live one of its name.
struct Seat {
    /// Identity of the live dataset.
    live: Option<String>,
    /// Whether the place of its mount comes from a dataset above it.
    inherits: bool,
    /// Its property `canmount`.
    canmount: String,
}

impl Copies {
    async fn seats(&self, slots: &[Slot]) -> Result<Vec<Seat>> {
        let mut seats = Vec::with_capacity(slots.len());
        for slot in slots {
            let mut was = match slot.live {
                true => self.zfs.properties(&slot.name, "guid,mountpoint,canmount").await?,
                false => Default::default(),
            };
            let inherits = was.get("mountpoint").is_some_and(|was| was.source != "local" && was.source != "received");
            let canmount = was.remove("canmount").map_or_else(|| "on".to_owned(), |was| was.value);
            let live = if slot.live { self.zfs.guid(&slot.name).await? } else { None };
            seats.push(Seat { live, inherits, canmount });
        }
        Ok(seats)
    }

    /// Renames each copy to the name that is free now, and mounts it.
    async fn sit_down(&self, slots: &[Slot], seats: &[Seat], cx: &StageCx) -> Result<()> {
        let mut moved: Vec<(&str, &str)> = vec![];
        for ((copy, slot), seat) in self.copies.iter().zip(slots).zip(seats) {
            let now = follow(&copy.name, &moved);
            let _ = cx.arm(DestroyDataset { spare: seat.live.clone(), ..DestroyDataset::new(&self.zfs, &slot.name) });
            if now != slot.name {
                self.zfs.rename(&now, &slot.name).await?;
            }
            moved.push((&copy.name, &slot.name));
        }
        for (slot, seat) in slots.iter().zip(seats) {
            match seat.inherits {
                true => self.zfs.inherit(&slot.name, "mountpoint").await?,
                false => self.zfs.set(&slot.name, "mountpoint", &slot.mountpoint).await?,
            }
            self.zfs.set(&slot.name, "canmount", &seat.canmount).await?;
            self.zfs.mount(&slot.name).await?;
        }
        let mounts = self.zfs.mounts().await?;
        match slots.iter().find(|slot| mounts.path_of(&slot.name) != Some(&slot.mountpoint)) {
            None => Ok(()),
            Some(slot) => {
                Err(Error::failed(format!("{} did not come to be mounted at {}", slot.name, slot.mountpoint)))
            }
        }
    }
}

/// The name that a dataset has after those above it were renamed.
fn follow(dataset: &str, moved: &[(&str, &str)]) -> String {
    let above = moved.iter().filter_map(|(from, to)| Some((to, name::under(dataset, from)?)));
    match above.min_by_key(|(_, rest)| rest.len()) {
        Some((to, rest)) => format!("{to}{rest}"),
        None => dataset.to_owned(),
    }
}

/// The live datasets that have no other live one above them: a rename takes their children along.
async fn lives(zfs: &Zfs, slots: &[Slot]) -> Result<Vec<Live>> {
    let live: Vec<_> = slots.iter().filter(|slot| slot.live).map(|slot| slot.name.as_str()).collect();
    let mut lives = vec![];
    for root in
        live.iter().filter(|root| !live.iter().any(|above| above != *root && name::under(root, above).is_some()))
    {
        lives.extend(Live::look(zfs, root).await?);
    }
    Ok(lives)
}

#[async_trait]
impl Chore for RemoveDirectory {
    fn describe(&self) -> String {
        format!("remove the directory {} on {}", self.path, self.zfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.remove().await.map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_follows_the_nearest_parent_that_moved() {
        let moved = [("d/r/pg-1", "d/pg"), ("d/r/pg-1/wal", "fast/wal")];
        assert_eq!(follow("d/r/pg-1/ts", &moved), "d/pg/ts");
        assert_eq!(follow("d/r/pg-1/wal/x", &moved), "fast/wal/x");
        assert_eq!(follow("d/r/other", &moved), "d/r/other");
    }
}
