//! The stage `zfs-snapshot`.

mod forget;
mod take;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Ref};
use reseed_core::guard::Grant;
use reseed_core::host::Host;
use reseed_core::item::{Coverage, Item, Payload, Piece, SnapshotPart, SnapshotSet, Wanted};
use reseed_core::leftover::Leftovers;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result, register_stage};
use reseed_storage::{begun, ends, keep};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::layout::{Layout, Uncovered};
use crate::name;
use crate::parse::{Features, Mounts};
use crate::prune::{Anchor, Prune};
use crate::shared::{Anchored, FORMAT, SourcePlan, SourceZfs, TERMS};
use crate::zfs::Zfs;
use crate::{check, leftovers};

/// Takes ZFS snapshots of every dataset that holds a part of the data: in one atomic act where they
/// are in one pool. They are called `@reseed-` and the run's id, and say in their properties
/// `reseed:run`, `reseed:pipeline` and `reseed:target` what they are for. When the run fails they
/// are destroyed, unless a later run is to go on with their streams and takes them instead of new ones;
/// after it, older ones that nothing needs are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SnapshotConfig {
    /// The host that the datasets are on; the local machine by default.
    on: Option<Ref>,
    /// The datasets, for those who want them named: the data must then lie in these alone. By
    /// default they are found from the data's own directories.
    #[serde(default)]
    datasets: Vec<Located<String>>,
    /// Whether mounted datasets below these are in the snapshot too, even where no part of the data
    /// lies in them. Off by default.
    #[serde(default)]
    recursive: bool,
    /// How many of the snapshots that reseed made for this target stay on each dataset, the newest
    /// one counted; at least 1, by default 2. What is held, or has clones, stays in any case.
    #[serde(default = "two")]
    keep: Located<usize>,
    /// What the next increment starts from. `snapshot` (the default): the newest snapshot stays, with a
    /// hold on it. `bookmark`: the snapshots go as soon as the run has succeeded, and a bookmark
    /// stays, which keeps no space; where no bookmark can be made, the snapshot stays. A bookmark is made
    /// in any case where that can be done, so that an increment is possible after the snapshot is gone.
    #[serde(default)]
    anchor: Anchor,
}

fn two() -> Located<usize> {
    Located::nowhere(2)
}

register_stage!(SnapshotConfig);

pub(crate) const NAME: &str = "zfs-snapshot";

impl StageConfig for SnapshotConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let datasets: Vec<_> = self.datasets.iter().map(|name| check::dataset(name, cx)).collect();
        let keep = keep::checked(&self.keep, cx);
        let host = cx.host(self.on.as_ref())?;
        let datasets = datasets.into_iter().collect::<Option<Vec<_>>>()?;
        let zfs = Zfs::on(&host);
        Some(Arc::new(Snapshots { zfs, datasets, recursive: self.recursive, keep: keep?, anchor: self.anchor }))
    }
}

#[derive(Debug)]
struct Snapshots {
    zfs: Zfs,
    datasets: Vec<String>,
    recursive: bool,
    keep: usize,
    anchor: Anchor,
}

#[async_trait]
impl Stage for Snapshots {
    fn name(&self) -> &str {
        SnapshotConfig::NAME
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        ends::takes_quiesced(FORMAT, input)
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.zfs.host().name();
        let claim = |name: &String| Claim { what: "dataset", host: host.to_owned(), name: name.clone() };
        self.datasets.iter().map(claim).collect()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.zfs.host()))
    }

    async fn scout(&self, cx: &CheckCx) {
        let (mounts, ()) = tokio::join!(self.zfs.mounts(), self.zfs.scout());
        if let Ok(mounts) = mounts {
            cx.board().put(Mounted(mounts));
        }
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().put(SourceZfs(self.zfs.clone()));
        let wanted = cx.board().need::<Wanted>(|| Error::refused("no stage says what must be in the snapshot"))?;
        let layout = match cx.board().get::<Mounted>() {
            Some(mounted) => self.resolve(&mounted.0, &wanted.0)?,
            None => self.layout(&wanted.0).await?,
        };
        let coverage = coverage(&layout);
        let names: Vec<_> = layout.parts.iter().map(|part| part.dataset.as_str()).collect();
        cx.note(format!("snapshots of {}: {}", names.join(", "), coverage.reason));
        cx.board().put(coverage);
        let begun = begun::ask(&layout, cx).await?;
        let are_there = self.are_there(&begun).await?;
        begun::remember(begun, are_there, cx);
        cx.board().put(SourcePlan { host: Arc::clone(self.zfs.host()), layout });
        cx.board().put(Anchored(self.anchor));
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let Some(plan) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        for part in &plan.layout.parts {
            check::may_send(&self.zfs, &part.dataset, &["snapshot", "destroy", "mount", "userprop"]).await?;
        }
        Ok(())
    }

    async fn targets(&self) -> Result<Vec<String>> {
        Ok(forget::Kept::look(&self.zfs).await?.targets())
    }

    async fn forget(&self, target: &str) -> Result<Vec<String>> {
        forget::Kept::look(&self.zfs).await?.forget(&self.zfs, target).await
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let plan = cx.board().get::<SourcePlan>().filter(|plan| !plan.host.is_local());
        let Some(plan) = plan else { return Ok(vec![]) };
        let objects = take::touched(&plan.layout.parts, &self.zfs.features().await?);
        Ok(objects.into_iter().map(|object| Grant::on(plan.host.name(), NAME, object)).collect())
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        let unknown = || Error::refused("nothing tells which datasets hold the data");
        let plan = cx.board().need::<SourcePlan>(unknown)?;
        let datasets: Vec<_> = plan.layout.parts.iter().map(|part| part.dataset.as_str()).collect();
        let target = cx.holdings(&[]).await.ok().map(|held| held.target);
        leftovers::snapshots(&self.zfs, &datasets, target.as_deref()).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Quiesced(pieces) = &input.payload else {
            return Err(Error::failed(format!("zfs-snapshot was given {:?}", input.payload)));
        };
        let (parts, left_out) = self.planned(pieces, cx).await?.split(pieces);
        let target = ends::target(cx).await?;
        let features: Features = self.zfs.features().await?;
        let parts = match begun::of(&parts, cx) {
            Some(begun) => begun,
            None => take::take(&self.zfs, &features, parts, &target, cx).await?,
        };
        let datasets = parts.iter().map(|part| (part.dataset.clone(), part.guid.clone())).collect();
        let (zfs, anchor) = (self.zfs.clone(), Some(self.anchor));
        cx.after_commit(Prune { zfs, datasets, target, keep: self.keep, anchor })?;
        let set = SnapshotSet { host: Arc::clone(self.zfs.host()), format: FORMAT, parts, left_out };
        Ok(input.with(Payload::Snapshot(set)))
    }
}

impl Snapshots {
    async fn layout(&self, pieces: &[Piece]) -> Result<Layout> {
        self.resolve(&self.zfs.mounts().await?, pieces)
    }

    fn resolve(&self, mounts: &Mounts, pieces: &[Piece]) -> Result<Layout> {
        let refuse = |why: Uncovered| Error::refused(why.to_string()).hint(why.hint());
        Layout::resolve(mounts, pieces, &self.datasets, self.recursive, TERMS).map_err(refuse)
    }

    /// Whether these very snapshots are there.
    async fn are_there(&self, begun: &[SnapshotPart]) -> Result<bool> {
        for part in begun {
            let guid = self.zfs.guid(&format!("{}@{}", part.dataset, part.snapshot)).await?;
            if guid.as_deref() != Some(&part.guid) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The layout that was surveyed: asking again would let the quiesced source wait.
    async fn planned(&self, pieces: &[Piece], cx: &StageCx) -> Result<Layout> {
        match cx.board().get::<SourcePlan>() {
            Some(plan) => Ok(plan.layout.clone()),
            None => self.layout(pieces).await,
        }
    }
}

/// What was mounted when this stage scouted.
#[derive(Debug)]
struct Mounted(Mounts);

fn coverage(layout: &Layout) -> Coverage {
    let mut pools: Vec<_> = layout.parts.iter().map(|part| name::pool(&part.dataset)).collect();
    pools.sort_unstable();
    pools.dedup();
    let (atomic, reason) = match pools.as_slice() {
        [pool] => (true, format!("all in the pool {pool}, so one atomic act takes them")),
        several => (false, format!("in the pools {}, and no snapshot spans pools", several.join(" and "))),
    };
    Coverage { atomic, reason, separate: layout.separate() }
}
