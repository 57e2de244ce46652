//! The switch: the live datasets step aside and the copies take their names and places.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::item::{Place, Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use reseed_storage::mirror;

use super::make::Copies;
use super::seats::Seating;
use crate::aside;
use crate::name;
use crate::undo::{DestroyDataset, Unmount};

#[async_trait]
impl Volume for Copies {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(self.zfs.host())
    }

    fn locate(&self, source: &str) -> Option<String> {
        mirror::locate(&self.mirrors, source)
    }

    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()> {
        let seating = self.seating(&placement.places).await?;
        for live in &seating.lives {
            live.after_commit(&self.zfs, placement.keep_old, None, cx)?;
        }
        cx.after_commit(self.cleanup())?;
        tokio::try_join!(self.leave_directory(), aside::step_aside(&self.zfs, &seating.lives, cx))?;
        self.sit_down(&seating, cx).await
    }
}

impl Copies {
    /// The switch as it was prepared for these places, or prepared now.
    async fn seating(&self, places: &[Place]) -> Result<Seating> {
        match &self.seating {
            Some(seating) if seating.places == places => Ok(seating.clone()),
            _ => {
                let origins: Vec<_> = self.copies.iter().map(|copy| copy.origin.clone()).collect();
                Seating::prepare(&self.zfs, &self.naming, &origins, places).await
            }
        }
    }

    async fn leave_directory(&self) -> Result<()> {
        for index in self.by_depth().into_iter().rev() {
            self.zfs.unmount(&self.copies[index].name).await?;
        }
        Ok(())
    }

    /// Copies in the order in which they must be mounted.
    pub(super) fn by_depth(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.mirrors.len()).collect();
        order.sort_by_key(|index| self.mirrors[*index].copy.len());
        order
    }

    /// Renames each copy to the name that is free now, and mounts it.
    async fn sit_down(&self, seating: &Seating, cx: &StageCx) -> Result<()> {
        let mut moved: Vec<(&str, &str)> = vec![];
        for ((copy, slot), seat) in self.copies.iter().zip(&seating.slots).zip(&seating.seats) {
            let now = follow(&copy.name, &moved);
            cx.arm(DestroyDataset { spare: seat.live.clone(), ..DestroyDataset::new(&self.zfs, &slot.name) })?;
            if now != slot.name {
                self.zfs.rename(&now, &slot.name).await?;
            }
            moved.push((&copy.name, &slot.name));
        }
        let mut order: Vec<_> = (0..seating.slots.len()).collect();
        order.sort_by_key(|index| seating.slots[*index].mountpoint.len());
        let named = order.iter().map(|index| (seating.slots[*index].name.clone(), seating.seats[*index].live.clone()));
        cx.arm(Unmount { zfs: self.zfs.clone(), datasets: named.collect() })?;
        for index in order {
            self.mount(index, seating).await?;
        }
        let mounts = self.zfs.mounts().await?;
        match seating.slots.iter().find(|slot| mounts.path_of(&slot.name) != Some(&slot.mountpoint)) {
            None => Ok(()),
            Some(slot) => {
                Err(Error::failed(format!("{} did not come to be mounted at {}", slot.name, slot.mountpoint)))
            }
        }
    }

    /// Mounts a copy at its place, by its own property or by that of one above it.
    async fn mount(&self, index: usize, seating: &Seating) -> Result<()> {
        let (zfs, copy) = (&self.zfs, &self.copies[index]);
        let (slot, seat) = (&seating.slots[index], &seating.seats[index]);
        let above = seating.slots.iter().find(|above| name::parent(&slot.name) == Some(&above.name));
        let natural = above.map(|above| format!("{}/{}", above.mountpoint, name::last(&slot.name)));
        match copy.inherits {
            true if natural.as_ref() == Some(&slot.mountpoint) => {}
            false if seat.inherits => zfs.inherit(&slot.name, "mountpoint").await?,
            _ => zfs.set(&slot.name, "mountpoint", &slot.mountpoint).await?,
        }
        if copy.canmount != seat.canmount {
            zfs.set(&slot.name, "canmount", &seat.canmount).await?;
        }
        Ok(zfs.mount(&slot.name).await?)
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
