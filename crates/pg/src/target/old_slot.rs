//! Slots on the primary that nobody needs once the new standby is proven.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::register_chore;
use reseed_core::stage::StageCx;
use reseed_core::undo::Chore;
use serde::{Deserialize, Serialize};

use super::configure::Configured;
use super::staged::primary;
use super::survey::Standby;
use crate::cluster::Cluster;
use crate::facts::Backup;
use crate::source::slot::drop_if_idle;

/// Names of slots that reseed made begin with this.
const OURS: &str = "reseed_";

/// Drops a slot of an earlier run, if nobody uses it.
#[derive(Debug, Serialize, Deserialize)]
struct DropOldSlot {
    #[serde(with = "crate::cluster::by_name")]
    primary: Arc<Cluster>,
    slot: String,
}

register_chore!("pg-drop-old-slot", DropOldSlot);

#[async_trait]
impl Chore for DropOldSlot {
    fn describe(&self) -> String {
        format!("drop the replication slot {} on {}", self.slot, self.primary.name)
    }

    async fn perform(&self) -> Result<Option<String>> {
        let dropped = drop_if_idle(&self.primary, &self.slot).await?;
        Ok(dropped.then(|| format!("dropped the replication slot {} on {}", self.slot, self.primary.name)))
    }
}

/// Sees to the slot that the old standby used, and to the run's own where the standby has another:
/// a slot that nobody uses retains WAL for ever.
pub(crate) fn see_to(standby: &Standby, backup: Option<&Backup>, cx: &StageCx) -> Result<()> {
    let Some(configured) = cx.board().get::<Configured>() else { return Ok(()) };
    let old = standby.old.as_ref().and_then(|old| old.slot.clone());
    let runs = backup.and_then(|backup| backup.slot.clone());
    let mut unused: Vec<_> =
        old.into_iter().chain(runs).filter(|slot| configured.slot.as_ref() != Some(slot)).collect();
    unused.dedup();
    let primary = primary(cx.board());
    for slot in unused {
        match &primary {
            Some(primary) if slot.starts_with(OURS) => {
                cx.after_commit(DropOldSlot { primary: Arc::clone(primary), slot })?;
            }
            _ => cx.warn(format!(
                "the old standby's slot retains WAL on the primary; if nothing else uses it, there: \
                 SELECT pg_drop_replication_slot('{slot}')"
            )),
        }
    }
    Ok(())
}
