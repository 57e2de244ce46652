//! Taking the snapshots, in one act for each pool.

use reseed_core::item::{ArmedSnapshots, SnapshotPart};
use reseed_core::stage::StageCx;
use reseed_core::undo::Armed;
use reseed_core::{Error, Result};

use crate::layout::Part;
use crate::name;
use crate::parse::Features;
use crate::prune;
use crate::shared::{Listed, ReceivePlan};
use crate::undo::{DestroySnapshot, Kept, Receiver};
use crate::zfs::Zfs;

/// Snapshots these datasets, atomically within each pool, and reads their identities.
pub(super) async fn take(
    zfs: &Zfs,
    features: &Features,
    parts: Vec<Part>,
    target: &str,
    cx: &StageCx,
) -> Result<Vec<SnapshotPart>> {
    let receiver = cx.board().get::<ReceivePlan>().filter(|plan| plan.resumable).map(|plan| Receiver {
        zfs: plan.zfs.clone(),
        datasets: plan.datasets.iter().map(|(part, dataset)| (part.dataset.clone(), dataset.clone())).collect(),
        tag: prune::tag(target),
    });
    let (short, properties) = (name::snapshot(cx.run_id()), properties(target, cx));
    let mut act = Act { zfs, short, properties, receiver, armed: vec![], cx };
    let mut pools: Vec<_> = parts.iter().map(|part| name::pool(&part.dataset)).collect();
    pools.dedup();
    for pool in pools {
        let mine = parts.iter().map(|part| part.dataset.as_str()).filter(|dataset| name::pool(dataset) == pool);
        act.in_one_pool(&mine.collect::<Vec<_>>(), features).await?;
    }
    let datasets: Vec<_> = parts.iter().map(|part| part.dataset.as_str()).collect();
    cx.board().put(ArmedSnapshots(std::mem::take(&mut act.armed)));
    let all = zfs.snapshots_of(&datasets).await?;
    let mut taken = Vec::with_capacity(parts.len());
    let mut listed = Vec::with_capacity(parts.len());
    for (part, all) in parts.into_iter().zip(all) {
        let Part { dataset, mountpoint, main, .. } = part;
        let mine = all.iter().find(|one| !one.is_bookmark() && one.short() == act.short);
        let guid = mine.map(|one| one.guid.clone());
        let guid = guid.ok_or_else(|| Error::failed(format!("{dataset}@{} is gone", act.short)))?;
        listed.push((dataset.clone(), all));
        taken.push(SnapshotPart { dataset, mountpoint, snapshot: act.short.clone(), guid, main });
    }
    cx.board().put(Listed(listed));
    Ok(taken)
}

/// What [`take`] touches, as a guard is told it: a `/` stands for everything below.
pub(super) fn touched(parts: &[Part], features: &Features) -> Vec<String> {
    let mut objects: Vec<_> = parts.iter().map(|part| part.dataset.clone()).collect();
    let pools: std::collections::BTreeSet<_> = objects.iter().map(|name| name::pool(name).to_owned()).collect();
    for pool in pools.into_iter().filter(|_| !features.many_snapshots) {
        let mine: Vec<_> =
            parts.iter().map(|part| part.dataset.as_str()).filter(|name| name::pool(name) == pool).collect();
        if mine.len() > 1 {
            objects.extend(name::common_ancestor(mine).map(|ancestor| format!("{ancestor}/")));
        }
    }
    objects
}

/// Properties of the snapshots, by which leftovers and owners are found without a journal.
fn properties(target: &str, cx: &StageCx) -> Vec<String> {
    let all = [("run", cx.run_id()), ("pipeline", cx.pipeline()), ("target", target)];
    all.iter().map(|(property, value)| format!("reseed:{property}={value}")).collect()
}

struct Act<'a> {
    zfs: &'a Zfs,
    short: String,
    properties: Vec<String>,
    receiver: Option<Receiver>,
    armed: Vec<Armed>,
    cx: &'a StageCx,
}

impl Act<'_> {
    async fn in_one_pool(&mut self, datasets: &[&str], features: &Features) -> Result<()> {
        match datasets {
            [] => Ok(()),
            [_] => self.by_name(datasets).await,
            several if features.many_snapshots => self.by_name(several).await,
            several => self.by_ancestor(several).await,
        }
    }

    /// One command that names each of them.
    async fn by_name(&mut self, datasets: &[&str]) -> Result<()> {
        let names: Vec<_> = datasets.iter().map(|dataset| format!("{dataset}@{}", self.short)).collect();
        datasets.iter().try_for_each(|dataset| self.arm(dataset, false))?;
        self.snapshot(&["snapshot"], &names).await
    }

    /// Where `zfs snapshot` takes one name only: the whole tree above them, and what was not wanted
    /// is destroyed at once.
    async fn by_ancestor(&mut self, datasets: &[&str]) -> Result<()> {
        let ancestor = name::common_ancestor(datasets.iter().copied());
        let ancestor = ancestor.ok_or_else(|| Error::failed("datasets of several pools in one act"))?;
        let name = format!("{ancestor}@{}", self.short);
        self.arm(ancestor, true)?;
        self.snapshot(&["snapshot", "-r"], &[name]).await?;
        for other in self.zfs.filesystems(ancestor).await? {
            if !datasets.contains(&other.name.as_str()) {
                self.zfs.destroy(&format!("{}@{}", other.name, self.short), false).await?;
            }
        }
        Ok(())
    }

    fn arm(&mut self, dataset: &str, tree: bool) -> Result<()> {
        let (dataset, short, receiver) = (dataset.to_owned(), self.short.clone(), self.receiver.clone());
        let (zfs, kept) = (self.zfs.clone(), Kept::default());
        self.armed.push(self.cx.arm(DestroySnapshot { zfs, dataset, short, tree, receiver, kept })?);
        Ok(())
    }

    async fn snapshot(&self, verb: &[&str], names: &[String]) -> Result<()> {
        let options = self.properties.iter().flat_map(|property| ["-o", property]);
        let flags: Vec<_> = verb.iter().copied().chain(options).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.zfs.run(&flags, &names).await?;
        Ok(())
    }
}
