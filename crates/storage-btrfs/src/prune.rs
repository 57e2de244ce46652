//! Work after the commit: snapshots that no increment needs any more are deleted.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::undo::Chore;
use reseed_storage::{keep, name};
use serde::{Deserialize, Serialize};

use crate::btrfs::Btrfs;
use crate::shared::suffix;
use crate::table::Seen;

/// Deletes older snapshots that reseed made for one target. What others made stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prune {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// Each directory of snapshots and the identity of the newest one that both sides hold.
    pub(crate) directories: Vec<(String, String)>,
    /// The target that snapshots must have been made for.
    pub(crate) target: String,
    /// How many of them stay.
    pub(crate) keep: usize,
}

register_chore!("btrfs-prune", Prune);

#[async_trait]
impl Chore for Prune {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.btrfs.host()))
    }

    fn describe(&self) -> String {
        let directories: Vec<_> = self.directories.iter().map(|(directory, _)| directory.as_str()).collect();
        format!("prune snapshots in {} on {}", directories.join(", "), self.btrfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let paths: Vec<_> = self.directories.iter().map(|(directory, _)| directory.as_str()).collect();
        let table = self.btrfs.table(&paths).await?;
        let mut pruned = 0;
        for (directory, newest) in &self.directories {
            let all = table.tree(directory).collect();
            for path in surplus(all, directory, &suffix(&self.target), newest, self.keep) {
                self.btrfs.delete(&path).await?;
                pruned += 1;
            }
        }
        let told = || format!("deleted {pruned} older snapshots of reseed on {}", self.btrfs.host().name());
        Ok((pruned > 0).then(told))
    }
}

/// Paths of snapshots that nothing needs.
fn surplus(mut all: Vec<&Seen>, directory: &str, suffix: &str, newest: &str, keep: usize) -> Vec<String> {
    let ours = |path: &str| {
        let short = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
        short.is_some_and(|short| short.starts_with(name::PREFIX) && short.ends_with(suffix) && !short.contains('/'))
    };
    all.retain(|seen| ours(&seen.path) && seen.subvolume.readonly);
    all.sort_by_key(|seen| seen.subvolume.id);
    let go = keep::surplus(all, keep, |seen| seen.subvolume.identity() != newest);
    go.into_iter().map(|seen| seen.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Subvolume;

    #[test]
    fn only_surplus_snapshots_of_this_target_go() {
        let seen = |id: u64, short: &str, readonly: bool| Seen {
            path: format!("/d/{short}"),
            filesystem: "fs".into(),
            subvolume: Subvolume {
                id,
                uuid: format!("u{id}"),
                parent: None,
                received: None,
                path: format!("/{short}"),
                readonly,
            },
        };
        let mut all: Vec<_> = (1..=5).map(|id| seen(id, &format!("reseed-{id}.aa"), true)).collect();
        all.push(seen(6, "reseed-6.bb", true));
        all.push(seen(7, "daily.aa", true));
        all.push(seen(8, "reseed-8.aa", false));
        all.push(seen(9, "reseed-x/reseed-9.aa", true));
        let go = |keep, newest| surplus(all.iter().collect(), "/d", ".aa", newest, keep);
        assert_eq!(go(2, "u5"), ["/d/reseed-1.aa", "/d/reseed-2.aa", "/d/reseed-3.aa"]);
        assert_eq!(go(2, "u2"), ["/d/reseed-1.aa", "/d/reseed-3.aa"]);
    }
}
