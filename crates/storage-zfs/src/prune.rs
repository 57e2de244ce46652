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
    /// Puts a hold on the newest and takes it off the others. Where that can't be done, nothing is lost
    /// but a protection against a careless hand. Where there is one to take off, one can be put on, so
    /// both are done side by side.
    async fn move_hold(&self, snapshots: &mut [Snapshot], newest: &str) -> Result<()> {
        let tag = tag(&self.target);
        let (mut held, mut fresh) = (vec![], vec![]);
        for snapshot in snapshots.iter_mut().filter(|snapshot| !snapshot.is_bookmark()) {
            match snapshot.guid == newest {
                true => fresh.push(snapshot.name.clone()),
                false if snapshot.held() => held.push(snapshot),
                false => {}
            }
        }
        let hold = async {
            for name in &fresh {
                self.zfs.hold(name, &tag).await?;
            }
            Ok(())
        };
        let release = async {
            for snapshot in held {
                snapshot.holds -= u64::from(self.zfs.release(&snapshot.name, &tag).await?);
            }
            Ok(())
        };
        tokio::try_join!(hold, release).map(drop)
    }

    async fn prune_one(&self, dataset: &str, newest: &str) -> Result<usize> {
        let mut snapshots = self.zfs.snapshots(dataset).await?;
        self.move_hold(&mut snapshots, newest).await?;
        let mut gone = 0;
        for name in surplus(&snapshots, &self.target, newest, self.keep) {
            gone += usize::from(self.zfs.destroy_unless_cloned(&name).await?);
        }
        Ok(gone)
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

/// Names of snapshots that nothing needs, unless it be a clone.
fn surplus(all: &[Snapshot], target: &str, newest: &str, keep: usize) -> Vec<String> {
    let ours = |snapshot: &&Snapshot| {
        snapshot.target.as_deref() == Some(target)
            && snapshot.short().starts_with(name::PREFIX)
            && !snapshot.is_bookmark()
    };
    let may_go = |one: &&Snapshot| one.guid != newest && !one.held();
    let go = keep::surplus(all.iter().filter(ours).collect(), keep, may_go);
    go.into_iter().map(|snapshot| snapshot.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, target: Option<&str>) -> Snapshot {
        let guid = name.to_owned();
        Snapshot { name: format!("ta/a@{name}"), guid, target: target.map(str::to_owned), holds: 0 }
    }

    #[test]
    fn only_surplus_snapshots_of_this_target_go() {
        let mut all: Vec<_> = (1..=6).map(|n| snapshot(&format!("reseed-{n}"), Some("t"))).collect();
        all.push(snapshot("daily", None));
        all.push(snapshot("reseed-7", Some("other")));
        all.push(snapshot("mine", Some("t")));
        all[1].holds = 1;
        let go = surplus(&all, "t", "reseed-3", 2);
        assert_eq!(go, ["ta/a@reseed-1", "ta/a@reseed-4"]);
        assert!(surplus(&all, "t", "reseed-6", 0).iter().all(|name| name != "ta/a@reseed-6"));
    }
}
