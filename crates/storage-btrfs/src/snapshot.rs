//! The stage `btrfs-snapshot`.

mod home;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Ref};
use reseed_core::guard::Grant;
use reseed_core::host::Host;
use reseed_core::item::{ArmedSnapshots, Coverage, Item, Payload, Piece, SnapshotPart, SnapshotSet, Wanted};
use reseed_core::leftover::Leftovers;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result, register_stage};
use reseed_storage::{Layout, Part, SourcePlan, Uncovered, begun, ends, keep};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::btrfs::Btrfs;
use crate::prune::Prune;
use crate::shared::{FORMAT, TERMS, snapshot_name, suffix};
use crate::table::Table;
use crate::undo::DeleteSubvolume;
use crate::{check, guard, leftovers};

/// Takes a read-only btrfs snapshot of every subvolume that holds a part of the data. A snapshot is
/// atomic for one subvolume only: where the data lies in several, the server must be in backup mode.
/// They are called `reseed-`, the run's id and a mark of the target that they are for, and lie in a
/// directory of their own. When the run fails they are deleted, unless a later run is to go on with
/// their streams and takes them instead of new ones; after it, older ones that nothing needs are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SnapshotConfig {
    /// The host that the subvolumes are on; the local machine by default.
    on: Option<Ref>,
    /// Paths of the subvolumes, for those who want them named: the data must then lie in these
    /// alone. By default they are found from the data's own directories.
    #[serde(default)]
    subvolumes: Vec<Located<String>>,
    /// The directory that keeps the snapshots, on the same file system; each subvolume has a place of
    /// its own in it. By default `.reseed` beside the subvolume, or, where that is a mount point, in it.
    directory: Option<Located<String>>,
    /// How many of the snapshots that reseed made for this target stay of each subvolume, the newest
    /// one counted; at least 1, by default 2.
    #[serde(default = "two")]
    keep: Located<usize>,
}

fn two() -> Located<usize> {
    Located::nowhere(2)
}

register_stage!(SnapshotConfig);

pub(crate) const NAME: &str = "btrfs-snapshot";

impl StageConfig for SnapshotConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let subvolumes: Vec<_> = self.subvolumes.iter().map(|path| check::path(path, cx)).collect();
        let directory = self.directory.as_ref().map(|path| check::path(path, cx));
        let keep = keep::checked(&self.keep, cx);
        let host = cx.host(self.on.as_ref())?;
        let subvolumes = subvolumes.into_iter().collect::<Option<Vec<_>>>()?;
        let directory = directory.map_or(Some(None), |path| path.map(Some))?;
        Some(Arc::new(Snapshots { btrfs: Btrfs::on(&host), subvolumes, directory, keep: keep? }))
    }
}

#[derive(Debug)]
struct Snapshots {
    btrfs: Btrfs,
    subvolumes: Vec<String>,
    directory: Option<String>,
    keep: usize,
}

/// Each subvolume of the source and the directory of its snapshots, from the survey.
#[derive(Debug, Clone)]
pub(crate) struct Homes(pub(crate) Vec<(String, String)>);

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
        let host = self.btrfs.host().name();
        let claim = |name: &String| Claim { what: "subvolume", host: host.to_owned(), name: name.clone() };
        self.subvolumes.iter().map(claim).collect()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.btrfs.host()))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        check::is_root(&self.btrfs).await?;
        let wanted = cx.board().get::<Wanted>();
        let wanted = wanted.ok_or_else(|| Error::refused("no stage says what must be in the snapshot"))?;
        let (layout, homes) = self.look(&wanted.0).await?;
        let coverage = coverage(&layout);
        let names: Vec<_> = layout.parts.iter().map(|part| part.dataset.as_str()).collect();
        cx.note(format!("snapshots of {}: {}", names.join(", "), coverage.reason));
        cx.board().put(coverage);
        let begun = begun::ask(&layout, cx).await?;
        let are_there = self.are_there(&begun, &homes).await?;
        begun::remember(begun, are_there, cx);
        cx.board().put(homes);
        cx.board().put(SourcePlan { host: Arc::clone(self.btrfs.host()), layout });
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let host = self.btrfs.host();
        let Some(homes) = cx.board().get::<Homes>().filter(|_| !host.is_local()) else { return Ok(vec![]) };
        let grant = |(subvolume, home): &(String, String)| Grant::on(host.name(), NAME, guard::object(subvolume, home));
        Ok(homes.0.iter().map(grant).collect())
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        let unknown = || Error::refused("nothing tells where the snapshots are");
        let homes = cx.board().need::<Homes>(unknown)?;
        let homes: Vec<_> = homes.0.iter().map(|(_, home)| home.as_str()).collect();
        let target = cx.holdings(&[]).await.ok().map(|held| suffix(&held.target));
        leftovers::snapshots(&self.btrfs, &homes, target.as_deref()).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Quiesced(pieces) = &input.payload else {
            return Err(Error::failed(format!("btrfs-snapshot was given {:?}", input.payload)));
        };
        // What was surveyed is taken: asking again would let the quiesced source wait.
        let (layout, homes) = match (cx.board().get::<SourcePlan>(), cx.board().get::<Homes>()) {
            (Some(plan), Some(homes)) => (plan.layout.clone(), homes.as_ref().clone()),
            _ => self.look(pieces).await?,
        };
        let (parts, left_out) = layout.split(pieces);
        let target = ends::target(cx).await?;
        let parts = match begun::of(&parts, cx) {
            Some(begun) => begun,
            None => self.take(parts, &homes, &snapshot_name(cx.run_id(), &target), cx).await?,
        };
        let home = |part: &SnapshotPart| homes.of(&part.dataset).map(|home| (home, part.guid.clone()));
        let directories = parts.iter().map(home).collect::<Result<_>>()?;
        cx.after_commit(Prune { btrfs: self.btrfs.clone(), directories, target, keep: self.keep })?;
        let set = SnapshotSet { host: Arc::clone(self.btrfs.host()), format: FORMAT, parts, left_out };
        Ok(input.with(Payload::Snapshot(set)))
    }
}

impl Snapshots {
    /// Which subvolumes hold the pieces, and where their snapshots go.
    async fn look(&self, pieces: &[Piece]) -> Result<(Layout, Homes)> {
        let paths = pieces.iter().map(|piece| piece.path.as_str()).chain(self.directory.as_deref());
        let table = self.btrfs.table(&paths.collect::<Vec<_>>()).await?;
        let refuse = |why: Uncovered| Error::refused(why.to_string()).hint(why.hint());
        let layout = Layout::resolve(&table.mounts(), pieces, &self.subvolumes, false, TERMS).map_err(refuse)?;
        let mut homes = vec![];
        for part in &layout.parts {
            home::original(&table, part)?;
            homes.push((part.dataset.clone(), home::home(&table, part, self.directory.as_deref())?));
        }
        Ok((layout, Homes(homes)))
    }

    /// Whether these very snapshots are there.
    async fn are_there(&self, begun: &[SnapshotPart], homes: &Homes) -> Result<bool> {
        let path = |part: &SnapshotPart| Ok(format!("{}/{}", homes.of(&part.dataset)?, part.snapshot));
        let paths = begun.iter().map(path).collect::<Result<Vec<_>>>()?;
        let table = self.btrfs.table(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let is = |(part, path): (&SnapshotPart, &String)| {
            table.at(path).is_some_and(|seen| seen.subvolume.uuid == part.guid)
        };
        Ok(begun.iter().zip(&paths).all(is))
    }

    async fn take(&self, parts: Vec<Part>, homes: &Homes, short: &str, cx: &StageCx) -> Result<Vec<SnapshotPart>> {
        let btrfs = &self.btrfs;
        let (mut paths, mut armed) = (vec![], vec![]);
        for part in &parts {
            let home = homes.of(&part.dataset)?;
            btrfs.make_directory(&home, cx).await?;
            let path = format!("{home}/{short}");
            armed.push(cx.arm(DeleteSubvolume::new(btrfs, &path))?);
            btrfs.snapshot(&part.dataset, &path, true).await?;
            paths.push(path);
        }
        cx.board().put(ArmedSnapshots(armed));
        let table = btrfs.table(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let born = parts.into_iter().zip(&paths).map(|(part, path)| born(&table, part, path, short));
        born.collect()
    }
}

impl Homes {
    fn of(&self, dataset: &str) -> Result<String> {
        let home = self.0.iter().find(|(known, _)| known == dataset).map(|(_, home)| home.clone());
        home.ok_or_else(|| Error::failed(format!("nothing says where snapshots of {dataset} go")))
    }
}

fn born(table: &Table, part: Part, path: &str, short: &str) -> Result<SnapshotPart> {
    let seen = table.at(path).ok_or_else(|| Error::failed(format!("{path} is gone")))?;
    if seen.subvolume.received.is_some() {
        return Err(home::taken_over(&part.dataset));
    }
    let Part { dataset, mountpoint, main, .. } = part;
    Ok(SnapshotPart { dataset, mountpoint, snapshot: short.to_owned(), guid: seen.subvolume.uuid.clone(), main })
}

fn coverage(layout: &Layout) -> Coverage {
    let names: Vec<_> = layout.parts.iter().map(|part| part.dataset.as_str()).collect();
    let (atomic, reason) = match names.as_slice() {
        [one] => (true, format!("all in the subvolume {one}, so one atomic snapshot holds it")),
        several => (false, format!("in the subvolumes {}, and no snapshot spans subvolumes", several.join(" and "))),
    };
    Coverage { atomic, reason, separate: layout.separate() }
}
