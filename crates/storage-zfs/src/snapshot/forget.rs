//! What is kept for targets on the machine that sends, and how one is forgotten.

use reseed_core::Result;

use crate::name;
use crate::parse::Said;
use crate::prune;
use crate::zfs::Zfs;

/// Everything that reseed keeps on a machine for some target.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Snapshots, and the target that each was made for.
    snapshots: Vec<(String, String)>,
    /// Bookmarks of reseed.
    bookmarks: Vec<String>,
}

impl Kept {
    /// Looks at every pool of the machine: a target that is gone says nothing of its datasets.
    pub(super) async fn look(zfs: &Zfs) -> Result<Self> {
        let ours = |name: &String| short(name).starts_with(name::PREFIX);
        let snapshots = zfs.made_for_targets().await?.into_iter().filter(|(name, _)| ours(name)).collect();
        let bookmarks = zfs.bookmarks().await?.into_iter().filter(ours).collect();
        Ok(Self { snapshots, bookmarks })
    }

    /// Names of the targets; where only bookmarks are left, with `:` for each `/`.
    pub(super) fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.snapshots.iter().map(|(_, target)| target.clone()).collect();
        for end in self.bookmarks.iter().filter_map(|name| short(name).split_once('.')).map(|(_, end)| end) {
            if !targets.iter().any(|target| target.replace('/', ":") == end) {
                targets.push(end.to_owned());
            }
        }
        targets.sort();
        targets.dedup();
        targets
    }

    /// Releases and destroys what is kept for one target. What has clones, or is held by others, stays.
    pub(super) async fn forget(&self, zfs: &Zfs, target: &str) -> Result<Vec<String>> {
        let (mut done, tag) = (vec![], prune::tag(target));
        for name in self.snapshots.iter().filter(|(_, of)| same(of, target)).map(|(name, _)| name) {
            zfs.release(name, &tag).await?;
            match zfs.destroy(name, false).await {
                Err(error) if matches!(error.said(), Some(Said::Held | Said::Busy | Said::HasClones)) => {
                    done.push(format!("released {name}, which others need"));
                }
                gone => gone.map(|()| done.push(format!("destroyed {name}")))?,
            }
        }
        let end = prune::bookmark_end(target);
        for name in self.bookmarks.iter().filter(|name| short(name).ends_with(&end)) {
            zfs.destroy(name, false).await?;
            done.push(format!("destroyed {name}"));
        }
        Ok(done)
    }
}

/// Whether two names are of one target: that of a bookmark has `:` for each `/`.
fn same(one: &str, other: &str) -> bool {
    one.replace('/', ":") == other.replace('/', ":")
}

fn short(name: &str) -> &str {
    name.split_once(['@', '#']).map_or("", |(_, short)| short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_once_each() {
        let kept = Kept {
            snapshots: vec![
                ("ta/a@reseed-1".into(), "7:tb/x".into()),
                ("ta/a/wal@reseed-1".into(), "7:tb/x".into()),
                ("ta/a@reseed-2".into(), "8:tb/x".into()),
            ],
            bookmarks: vec!["ta/a#reseed-1.7:tb:x".into(), "ta/a#reseed-9.9:tc:y".into()],
        };
        assert_eq!(kept.targets(), ["7:tb/x", "8:tb/x", "9:tc:y"]);
        assert!(same("7:tb/x", "7:tb:x") && !same("7:tb/x", "8:tb/x"));
    }
}
