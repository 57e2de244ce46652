//! The switch: the live subvolumes step aside and the copies take their names.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Host;
use reseed_core::item::{Place, Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_storage::mirror;

use super::make::Copies;
use super::plan::{self, Slot};
use crate::aside;
use crate::undo::DeleteSubvolume;

#[async_trait]
impl Volume for Copies {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(self.btrfs.host())
    }

    fn locate(&self, source: &str) -> Option<String> {
        mirror::locate(&self.mirrors, source)
    }

    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()> {
        let slots = self.slots(&placement.places).await?;
        for (slot, mirror) in slots.iter().zip(&self.mirrors).filter(|(slot, _)| slot.within.is_none()) {
            match &slot.live {
                Some(live) => aside::step_aside(&self.btrfs, &slot.path, live, placement.keep_old, cx).await?,
                None => aside::make_way(&self.btrfs, &slot.path, cx).await?,
            }
            let (btrfs, path, spare) = (self.btrfs.clone(), slot.path.clone(), slot.live.clone());
            cx.arm(DeleteSubvolume { btrfs, path, spare })?;
            self.btrfs.rename(&mirror.copy, &slot.path).await?;
        }
        cx.after_commit(aside::Sync { btrfs: self.btrfs.clone(), path: self.into.clone() })?;
        Ok(())
    }
}

impl Copies {
    /// The switch as it was prepared for these places, or prepared now.
    async fn slots(&self, places: &[Place]) -> Result<Vec<Slot>> {
        match &self.seating {
            Some((prepared, slots)) if prepared == places => Ok(slots.clone()),
            _ => plan::judged(&self.btrfs, &self.origins, places, &self.into).await,
        }
    }
}
