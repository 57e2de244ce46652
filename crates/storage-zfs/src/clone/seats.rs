//! Who sits where: found out while the live server still serves, so that the switch is short.

use reseed_core::Result;
use reseed_core::item::Place;

use super::plan;
use crate::aside::{self, Live};
use crate::fresh;
use crate::place::{Naming, Origin, Slot};
use crate::zfs::Zfs;

/// The switch, prepared.
#[derive(Debug, Clone)]
pub(super) struct Seating {
    /// The places that it was prepared for.
    pub(super) places: Vec<Place>,
    /// Where each copy goes, parents before children.
    pub(super) slots: Vec<Slot>,
    /// How each is mounted there.
    pub(super) seats: Vec<Seat>,
    /// The live datasets that step aside, each with all below it.
    pub(super) lives: Vec<Live>,
}

/// How a dataset is mounted, taken from the live one of its name.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// Identity of what has the name now.
    pub(super) live: Option<String>,
    /// Whether the place of its mount comes from a dataset above it.
    pub(super) inherits: bool,
    /// Its property `canmount`.
    pub(super) canmount: String,
}

impl Seating {
    /// Finds out all that the switch needs to know. Read-only.
    pub(super) async fn prepare(zfs: &Zfs, naming: &Naming, origins: &[Origin], places: &[Place]) -> Result<Self> {
        let slots = plan::slots(zfs, naming, origins, places).await?;
        let live: Vec<_> = slots.iter().filter(|slot| slot.live).map(|slot| slot.name.as_str()).collect();
        let nothing_else = async { plan::nothing_else(zfs, &slots).await.map_err(plan::while_running) };
        let ((), seats, lives) = tokio::try_join!(nothing_else, Seat::all(zfs, &slots), aside::lives(zfs, &live))?;
        Ok(Self { places: places.to_vec(), slots, seats, lives })
    }

    /// Properties that a copy has from the start, from what it will replace.
    pub(super) async fn properties(&self, zfs: &Zfs, index: usize) -> Result<Vec<(String, String)>> {
        let slot = &self.slots[index];
        if slot.live { fresh::inheritance(zfs, &slot.name).await } else { Ok(vec![]) }
    }
}

impl Seat {
    async fn all(zfs: &Zfs, slots: &[Slot]) -> Result<Vec<Self>> {
        let mut seats = Vec::with_capacity(slots.len());
        for slot in slots {
            seats.push(Self::of(zfs, slot).await?);
        }
        Ok(seats)
    }

    async fn of(zfs: &Zfs, slot: &Slot) -> Result<Self> {
        if !slot.live {
            let live = zfs.guid(&slot.name).await?;
            return Ok(Self { live, inherits: false, canmount: "on".to_owned() });
        }
        let (was, live) = tokio::try_join!(zfs.properties(&slot.name, "mountpoint,canmount"), zfs.guid(&slot.name))?;
        let inherits = was.get("mountpoint").is_some_and(|was| was.source != "local" && was.source != "received");
        let canmount = was.get("canmount").map_or_else(|| "on".to_owned(), |was| was.value.clone());
        Ok(Self { live, inherits, canmount })
    }
}
