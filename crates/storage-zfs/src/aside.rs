//! The live datasets step aside for a copy, and come back when the run fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::stage::StageCx;
use reseed_core::undo::{Chore, Undo};
use reseed_core::{Error, Result};
use reseed_core::{register_chore, register_undo};
use reseed_storage::keep::now;
use serde::{Deserialize, Serialize};

use crate::name::{self, ASIDE};
use crate::parse::Filesystem;
use crate::prune;
use crate::zfs::Zfs;

/// The property that says, in seconds since 1970, when what stepped aside may be destroyed.
pub(crate) const EXPIRES: &str = "reseed:expires";
/// Unmounting and renaming may have to wait for those who still look into the file system.
const DEADLINE: Duration = Duration::from_secs(120);

/// A live dataset and all below it, as it was before anything was touched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Its name.
    pub(crate) root: String,
    /// Its identity, which a rename does not change.
    pub(crate) guid: String,
    /// It and the file systems below it, parents first.
    pub(crate) tree: Vec<Filesystem>,
}

impl Live {
    /// Looks at a dataset; `None` where there is none of this name.
    pub(crate) async fn look(zfs: &Zfs, root: &str) -> Result<Option<Self>> {
        let (guid, tree) = tokio::try_join!(zfs.guid(root), zfs.filesystems(root))?;
        Ok(guid.map(|guid| Self { root: root.to_owned(), guid, tree }))
    }

    /// The name that it has aside.
    pub(crate) fn aside(&self, run: &str) -> String {
        name::aside(&self.root, run)
    }

    /// Arms what puts it back.
    fn arm(&self, zfs: &Zfs, cx: &StageCx) -> Result<()> {
        let aside = self.aside(cx.run_id());
        cx.arm(ComeBack { zfs: zfs.clone(), live: self.clone(), aside }).map(drop)
    }

    /// Renames the tree, once it is armed and unmounted. It is not mounted at the next boot either.
    async fn step_aside(&self, zfs: &Zfs, run: &str) -> Result<()> {
        let on = self.tree.iter().filter(|dataset| dataset.canmount == "on");
        zfs.set_all(&on.map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), "canmount", "noauto").await?;
        Ok(zfs.rename(&self.root, &self.aside(run)).await?)
    }

    /// What becomes of it after the commit.
    /// `holder` is the target in whose name reseed may have put holds on its snapshots.
    pub(crate) fn after_commit(&self, zfs: &Zfs, keep: Duration, holder: Option<&str>, cx: &StageCx) -> Result<()> {
        let holder = holder.map(str::to_owned);
        let (zfs, aside, live) = (zfs.clone(), self.aside(cx.run_id()), self.root.clone());
        cx.after_commit(Retire { zfs: zfs.clone(), aside, keep, holder: holder.clone() })?;
        cx.after_commit(Expire { zfs, live, holder })
    }
}

/// Lets several live datasets step aside, whichever is mounted inside which.
pub(crate) async fn step_aside(zfs: &Zfs, lives: &[Live], cx: &StageCx) -> Result<()> {
    let mut lives: Vec<_> = lives.iter().collect();
    // The last one armed comes back first, and must be the one that others are mounted inside.
    lives.sort_by_key(|live| std::cmp::Reverse(live.tree.first().map_or(0, |root| root.mountpoint.len())));
    lives.iter().try_for_each(|live| live.arm(zfs, cx))?;
    let mut mounted: Vec<_> = lives.iter().flat_map(|live| &live.tree).filter(|dataset| dataset.mounted).collect();
    mounted.sort_by_key(|dataset| std::cmp::Reverse(dataset.mountpoint.len()));
    for dataset in mounted {
        zfs.unmount(&dataset.name).await?;
    }
    for live in lives {
        live.step_aside(zfs, cx.run_id()).await?;
    }
    Ok(())
}

/// Of these datasets, the live ones that have no other of them above: a rename takes children along.
pub(crate) async fn lives(zfs: &Zfs, names: &[&str]) -> Result<Vec<Live>> {
    let below_other = |name: &str| names.iter().any(|above| *above != name && name::under(name, above).is_some());
    let mut lives = vec![];
    for root in names.iter().filter(|name| !below_other(name)) {
        lives.extend(Live::look(zfs, root).await?);
    }
    Ok(lives)
}

/// Puts a live dataset back where it was, mounted as it was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ComeBack {
    /// Where.
    pub(crate) zfs: Zfs,
    /// What it was.
    pub(crate) live: Live,
    /// Its name aside.
    pub(crate) aside: String,
}

impl ComeBack {
    async fn rename_back(&self) -> Result<()> {
        let (root, guid) = (&self.live.root, Some(&self.live.guid));
        let now = self.zfs.guid(root).await?;
        if now.as_ref() == guid {
            return Ok(());
        }
        if self.zfs.guid(&self.aside).await?.as_ref() != guid {
            return Err(Error::failed(format!("neither {root} nor {} is the dataset that was live", self.aside)));
        }
        if now.is_some() {
            return Err(Error::failed(format!("another dataset still has the name {root}")));
        }
        Ok(self.zfs.rename(&self.aside, root).await?)
    }
}

register_undo!("zfs-come-back", ComeBack);

#[async_trait]
impl Undo for ComeBack {
    fn describe(&self) -> String {
        format!("put {} on {} back into its place", self.live.root, self.zfs.host().name())
    }

    fn by_hand(&self) -> String {
        let mut commands = vec![format!("zfs rename {} {}", self.aside, self.live.root)];
        let mounted = self.live.tree.iter().filter(|dataset| dataset.mounted);
        for dataset in mounted {
            commands.push(format!("zfs set canmount={} {}", dataset.canmount, dataset.name));
            commands.push(format!("zfs mount {}", dataset.name));
        }
        commands.join("; ")
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        self.rename_back().await?;
        let now = self.zfs.filesystems(&self.live.root).await?;
        for was in &self.live.tree {
            let is = now.iter().find(|dataset| dataset.name == was.name);
            let is = is.ok_or_else(|| Error::failed(format!("{} is gone", was.name)))?;
            if is.canmount != was.canmount {
                self.zfs.set(&was.name, "canmount", &was.canmount).await?;
            }
            if was.mounted && !is.mounted {
                self.zfs.mount(&was.name).await?;
            }
        }
        Ok(())
    }
}

/// Destroys what stepped aside, or marks until when it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Retire {
    zfs: Zfs,
    aside: String,
    keep: Duration,
    holder: Option<String>,
}

register_chore!("zfs-retire", Retire);

#[async_trait]
impl Chore for Retire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.zfs.host()))
    }

    fn describe(&self) -> String {
        match self.keep.is_zero() {
            true => format!("destroy {} on {}", self.aside, self.zfs.host().name()),
            false => format!("keep {} on {} for {} s", self.aside, self.zfs.host().name(), self.keep.as_secs()),
        }
    }

    async fn perform(&self) -> Result<Option<String>> {
        if self.keep.is_zero() {
            destroy(&self.zfs, &self.aside, self.holder.as_deref()).await?;
            return Ok(Some(format!("destroyed {}, which was live before", self.aside)));
        }
        let expires = now() + self.keep.as_secs();
        self.zfs.set(&self.aside, EXPIRES, &expires.to_string()).await?;
        let told =
            format!("kept {}, which was live before; a run after {} s destroys it", self.aside, self.keep.as_secs());
        Ok(Some(told))
    }
}

/// Destroys what stepped aside, once it is no longer held in the name of `holder`.
async fn destroy(zfs: &Zfs, aside: &str, holder: Option<&str>) -> Result<()> {
    if let Some(holder) = holder {
        for dataset in zfs.filesystems(aside).await? {
            let snapshots = zfs.snapshots(&dataset.name).await?;
            for snapshot in snapshots.iter().filter(|snapshot| snapshot.held()) {
                zfs.release(&snapshot.name, &prune::tag(holder)).await?;
            }
        }
    }
    Ok(zfs.destroy(aside, true).await?)
}

/// Destroys what earlier runs set aside for a live dataset, once its time is over.
#[derive(Debug, Serialize, Deserialize)]
struct Expire {
    zfs: Zfs,
    live: String,
    holder: Option<String>,
}

register_chore!("zfs-expire", Expire);

#[async_trait]
impl Chore for Expire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.zfs.host()))
    }

    fn describe(&self) -> String {
        format!("destroy expired {}{ASIDE}… on {}", self.live, self.zfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let above = name::parent(&self.live).unwrap_or(&self.live);
        let mut gone = vec![];
        for (name, expires) in self.zfs.set_in_tree(above, EXPIRES).await? {
            let mine = name.strip_prefix(&self.live).is_some_and(|rest| rest.starts_with(ASIDE) && !rest.contains('/'));
            if mine && expires.parse::<u64>().is_ok_and(|expires| expires <= now()) {
                destroy(&self.zfs, &name, self.holder.as_deref()).await?;
                gone.push(name);
            }
        }
        Ok((!gone.is_empty()).then(|| format!("destroyed {}, whose time was over", gone.join(", "))))
    }
}
