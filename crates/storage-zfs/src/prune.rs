//! Work after the commit: holds and bookmarks of what the next increment starts from, and pruning of
//! what no increment needs any more.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::undo::Chore;
use reseed_storage::keep;
use reseed_storage::name::run_of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name;
use crate::parse::{Said, Snapshot};
use crate::zfs::Zfs;

/// What the next increment starts from on this side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Anchor {
    /// The newest snapshot, with a hold on it.
    #[default]
    Snapshot,
    /// A bookmark of it, which keeps no space: the snapshot goes as soon as the run has succeeded.
    Bookmark,
}

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
    /// What the next increment starts from, on the side that sends. The other needs the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) anchor: Option<Anchor>,
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

    /// Bookmarks the newest for this target and lets go of older bookmarks of it; whether the newest has
    /// one now. Not every `zfs`, pool and user can.
    async fn bookmark(&self, snapshots: &[Snapshot], newest: &str) -> Result<bool> {
        let end = bookmark_end(&self.target);
        let Some(snapshot) = snapshots.iter().find(|one| one.guid == newest && !one.is_bookmark()) else {
            return Ok(false);
        };
        let name = format!("{}{end}", snapshot.name.replacen('@', "#", 1));
        if name::wrong(&name).is_some() || !self.zfs.bookmark(&snapshot.name, &name).await? {
            return Ok(false);
        }
        for old in old_bookmarks(snapshots, &end, newest) {
            self.zfs.destroy(&old, false).await?;
        }
        Ok(true)
    }

    /// With a bookmark for an anchor no snapshot of this target stays, but for what is needed otherwise.
    async fn only_bookmark(&self, snapshots: &[Snapshot]) -> Result<usize> {
        let (tag, mut gone) = (tag(&self.target), 0);
        for one in snapshots.iter().filter(|one| is_ours(one, &self.target)) {
            if one.held() {
                self.zfs.release(&one.name, &tag).await?;
            }
            match self.zfs.destroy_unless_cloned(&one.name).await {
                Err(error) if matches!(error.said(), Some(Said::Held | Said::Busy)) => {}
                done => gone += usize::from(done?),
            }
        }
        Ok(gone)
    }

    async fn prune_one(&self, dataset: &str, newest: &str) -> Result<usize> {
        let mut snapshots = self.zfs.snapshots(dataset).await?;
        if let Some(anchor) = self.anchor
            && self.zfs.features().await?.bookmarks
            && self.bookmark(&snapshots, newest).await?
            && anchor == Anchor::Bookmark
        {
            return self.only_bookmark(&snapshots).await;
        }
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

/// How the names of bookmarks for one target end: a bookmark can't have properties that say it.
pub(crate) fn bookmark_end(target: &str) -> String {
    format!(".{}", target.replace('/', ":"))
}

/// Whether a name of a bookmark may end like this.
pub(crate) fn is_bookmark_end(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|target| !target.is_empty() && !target.contains(['/', '@', '#']))
}

/// Names of reseed's bookmarks for one target, but for the newest one.
fn old_bookmarks(all: &[Snapshot], end: &str, newest: &str) -> Vec<String> {
    let ours = |one: &&Snapshot| {
        one.is_bookmark() && one.short().starts_with(name::PREFIX) && one.short().ends_with(end) && one.guid != newest
    };
    all.iter().filter(ours).map(|one| one.name.clone()).collect()
}

/// Whether reseed made a snapshot, for this target.
fn is_ours(snapshot: &Snapshot, target: &str) -> bool {
    let made = run_of(snapshot.short()).is_some() && !snapshot.is_bookmark();
    made && snapshot.target.as_deref() == Some(target)
}

/// Names of snapshots that nothing needs, unless it be a clone.
fn surplus(all: &[Snapshot], target: &str, newest: &str, keep: usize) -> Vec<String> {
    let ours = |snapshot: &&Snapshot| is_ours(snapshot, target);
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
        let run = |n: u32| format!("reseed-2026112{n}t171234-0a1b2c");
        let mut all: Vec<_> = (1..=6).map(|n| snapshot(&run(n), Some("t"))).collect();
        all.push(snapshot("daily", None));
        all.push(snapshot(&run(7), Some("other")));
        all.push(snapshot("mine", Some("t")));
        all.push(snapshot("reseed-before-upgrade", Some("t")));
        all[1].holds = 1;
        let go = surplus(&all, "t", &run(3), 2);
        assert_eq!(go, [format!("ta/a@{}", run(1)), format!("ta/a@{}", run(4))]);
        assert!(surplus(&all, "t", &run(6), 0).iter().all(|name| !name.ends_with(&run(6))));
    }

    #[test]
    fn only_older_bookmarks_of_this_target_go() {
        let bookmark = |name: &str| Snapshot { name: format!("ta/a#{name}"), ..snapshot(name, None) };
        let end = bookmark_end("7:tb/x");
        let names = ["reseed-1.7:tb:x", "reseed-2.7:tb:x", "reseed-1.7:tb:xx", "mine.7:tb:x"];
        let mut all: Vec<_> = names.iter().map(|name| bookmark(name)).collect();
        all.push(snapshot("reseed-0.7:tb:x", None));
        assert_eq!(old_bookmarks(&all, &end, "reseed-2.7:tb:x"), ["ta/a#reseed-1.7:tb:x"]);
    }
}
