//! Work after the commit: holds on what the next increment starts from, and pruning of what no
//! increment needs any more.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::undo::Chore;
use reseed_storage::keep;
use serde::{Deserialize, Serialize};

use crate::name;
use crate::parse::Snapshot;
use crate::zfs::Zfs;

/// Holds the newest snapshots of one set and destroys older ones that reseed made for the same
/// target. What is held, what a clone came from and what others made stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prune {
    /// Where.
    pub(crate) zfs: Zfs,
    /// Each dataset and the identity of the newest snapshot that both sides hold.
    pub(crate) datasets: Vec<(String, String)>,
    /// The target that snapshots must have been made for.
    pub(crate) target: String,
    /// How many of them stay.
    pub(crate) keep: usize,
}

impl Prune {
    /// Puts a hold on the newest and takes it off the others; whether it took any off. Where that
    /// can't be done, nothing is lost but a protection against a careless hand.
    async fn move_hold(&self, snapshots: &[Snapshot], newest: &str) -> Result<bool> {
        let tag = tag(&self.target);
        let real = || snapshots.iter().filter(|snapshot| !snapshot.is_bookmark());
        for snapshot in real().filter(|snapshot| snapshot.guid == newest) {
            if !self.zfs.hold(&snapshot.name, &tag).await? {
                return Ok(false);
            }
        }
        let mut released = false;
        for snapshot in real().filter(|snapshot| snapshot.held && snapshot.guid != newest) {
            released |= self.zfs.release(&snapshot.name, &tag).await?;
        }
        Ok(released)
    }

    async fn prune_one(&self, dataset: &str, newest: &str) -> Result<usize> {
        let mut snapshots = self.zfs.snapshots(dataset).await?;
        if self.move_hold(&snapshots, newest).await? {
            snapshots = self.zfs.snapshots(dataset).await?;
        }
        if surplus(&snapshots, &self.target, newest, self.keep, &[]).is_empty() {
            return Ok(0);
        }
        let origins = self.zfs.origins(dataset).await?;
        let surplus = surplus(&snapshots, &self.target, newest, self.keep, &origins);
        for name in &surplus {
            self.zfs.destroy(name, false).await?;
        }
        Ok(surplus.len())
    }
}

register_chore!("zfs-prune", Prune);

#[async_trait]
impl Chore for Prune {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.zfs.host()))
    }

    fn describe(&self) -> String {
        let datasets: Vec<_> = self.datasets.iter().map(|(dataset, _)| dataset.as_str()).collect();
        format!("prune snapshots of {} on {}", datasets.join(", "), self.zfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let mut pruned = 0;
        for (dataset, newest) in &self.datasets {
            pruned += self.prune_one(dataset, newest).await?;
        }
        let told = || format!("destroyed {pruned} older snapshots of reseed on {}", self.zfs.host().name());
        Ok((pruned > 0).then(told))
    }
}

/// The tag of reseed's holds for one target. A `/` is spared: it is not needed, and old tools trip.
pub(crate) fn tag(target: &str) -> String {
    format!("reseed:{}", target.replace('/', ":"))
}

/// Names of snapshots that nothing needs.
fn surplus(all: &[Snapshot], target: &str, newest: &str, keep: usize, origins: &[String]) -> Vec<String> {
    let ours = |snapshot: &&Snapshot| {
        snapshot.target.as_deref() == Some(target)
            && snapshot.short().starts_with(name::PREFIX)
            && !snapshot.is_bookmark()
    };
    let may_go = |one: &&Snapshot| one.guid != newest && !one.held && !origins.contains(&one.name);
    let go = keep::surplus(all.iter().filter(ours).collect(), keep, may_go);
    go.into_iter().map(|snapshot| snapshot.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, target: Option<&str>) -> Snapshot {
        let guid = name.to_owned();
        Snapshot { name: format!("ta/a@{name}"), guid, target: target.map(str::to_owned), held: false }
    }

    #[test]
    fn only_surplus_snapshots_of_this_target_go() {
        let mut all: Vec<_> = (1..=6).map(|n| snapshot(&format!("reseed-{n}"), Some("t"))).collect();
        all.push(snapshot("daily", None));
        all.push(snapshot("reseed-7", Some("other")));
        all.push(snapshot("mine", Some("t")));
        all[1].held = true;
        let go = surplus(&all, "t", "reseed-3", 2, &["ta/a@reseed-4".to_owned()]);
        assert_eq!(go, ["ta/a@reseed-1"]);
        assert!(surplus(&all, "t", "reseed-6", 0, &[]).iter().all(|name| name != "ta/a@reseed-6"));
    }
}
