//! What was received, as a volume.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::item::{Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use reseed_storage::mirror::{Mirror, locate};

use crate::zfs::Zfs;

/// A copy that has taken the place of the live data already.
#[derive(Debug)]
pub(super) struct InPlace {
    zfs: Zfs,
    mirrors: Vec<Mirror>,
}

impl InPlace {
    pub(super) fn new(zfs: &Zfs, mirrors: Vec<Mirror>) -> Self {
        Self { zfs: zfs.clone(), mirrors }
    }
}

#[async_trait]
impl Volume for InPlace {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(self.zfs.host())
    }

    fn locate(&self, source: &str) -> Option<String> {
        locate(&self.mirrors, source)
    }

    async fn take_place(&self, placement: &Placement, _cx: &StageCx) -> Result<()> {
        let astray = placement.places.iter().find(|place| self.locate(&place.source).as_ref() != Some(&place.target));
        match astray {
            None => Ok(()),
            Some(place) => {
                let now = self.locate(&place.source).unwrap_or_else(|| "nowhere".to_owned());
                let error =
                    Error::failed(format!("{} was received in place at {now}, not at {}", place.source, place.target));
                Err(error.hint("receive with `into` and put the stage zfs-clone behind it"))
            }
        }
    }
}
