//! The stage `btrfs-receive`.

mod arrive;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Ref};
use reseed_core::host::{Host, Job};
use reseed_core::item::{SnapshotPart, StaysPristine, StreamHeader, Volume};
use reseed_core::leftover::Leftovers;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Holding, Holdings, Sink, SinkStage, Stage, StageCx};
use reseed_core::{Error, Format, Result, register_stage};
use reseed_storage::room::{self, MinFree};
use reseed_storage::{Goal, Mapping, SendPlan, SourcePlan, Unmapped, keep, unborn};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::btrfs::Btrfs;
use crate::shared::{FORMAT, ReceivePlan, TERMS};
use crate::{check, leftovers};

/// Receives btrfs streams beside the live data. The copies stay pristine: read-only and never run on,
/// so that the chain of increments never breaks; `btrfs-clone` makes something to run of them. An
/// increment is refused where the copy that it would start from was changed since it was received, or
/// where two subvolumes say that they are it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceiveConfig {
    /// The host that receives; the local machine by default.
    on: Option<Ref>,
    /// The directory below which copies are received, on the file system of the live data. Those of
    /// each subvolume are in a directory of its last name, children below their parents:
    /// `/srv/pg/wal` goes to `/data/reseed/pg/wal` for `into = "/data/reseed"`. Made where it is not
    /// there.
    into: Located<String>,
    /// Directories for subvolumes that belong elsewhere: path on the source = directory of copies.
    #[serde(default)]
    map: BTreeMap<String, Located<String>>,
    /// How many of the snapshots that reseed received stay of each subvolume, the newest one counted;
    /// at least 1, by default 2.
    #[serde(default = "two")]
    keep: Located<usize>,
    /// How much of the file system must stay free, for the databases that live on it: a share, `5%`, or an
    /// amount, `20GiB`. What would leave less is refused, and the run stops when less is left while it
    /// lasts. By default 5 %, or 1 GiB where that is less, or as much as will come
    /// where that is less still and known; `0%` lets it fill up.
    #[serde(default)]
    min_free: MinFree,
}

/// What helps who means to run a server on the received copy.
const CLONE_IT: &str = "put the stage btrfs-clone after btrfs-receive";

fn two() -> Located<usize> {
    Located::nowhere(2)
}

register_stage!(ReceiveConfig);

impl StageConfig for ReceiveConfig {
    const NAME: &'static str = "btrfs-receive";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let keep = keep::checked(&self.keep, cx);
        let into = check::path(&self.into, cx);
        let map: Vec<_> = self.map.iter().map(|(from, to)| Some((from.clone(), check::path(to, cx)?))).collect();
        let host = cx.host(self.on.as_ref());
        let map = map.into_iter().collect::<Option<BTreeMap<_, _>>>()?;
        let (into, btrfs, keep) = (into?, Btrfs::on(&host?), keep?);
        let fresh = Mapping::new(Goal::Into(into.clone()), map);
        let (mapping, target) = (Mutex::new(fresh.clone()), OnceCell::new());
        Some(Arc::new(SinkStage(Receiver { btrfs, into, fresh, mapping, target, keep, min_free: self.min_free })))
    }
}

#[derive(Debug)]
struct Receiver {
    btrfs: Btrfs,
    into: String,
    /// The mapping before any directory was given.
    fresh: Mapping,
    /// The mapping of what is being received.
    mapping: Mutex<Mapping>,
    target: OnceCell<String>,
    keep: usize,
    min_free: MinFree,
}

#[async_trait]
impl Sink for Receiver {
    fn name(&self) -> &str {
        ReceiveConfig::NAME
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(self.btrfs.host())
    }

    fn approaches(&self) -> bool {
        true
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim { what: "subvolume", host: self.btrfs.host().name().to_owned(), name: self.into.clone() }]
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().put(StaysPristine { hint: CLONE_IT });
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let directories = self.assign(&unborn(&source.layout)).map_err(refuse)?;
        for (part, directory) in &directories {
            cx.note(format!("{} is received in {directory}", part.dataset));
        }
        cx.board().put(ReceivePlan { btrfs: self.btrfs.clone(), into: self.into.clone(), directories });
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        check::is_root(&self.btrfs).await?;
        let table = self.btrfs.table(&[&self.into]).await?;
        let filesystem = check::filesystem(&table, &self.into, self.btrfs.host().name())?;
        self.room(None).await?;
        let Some(plan) = cx.board().get::<ReceivePlan>() else { return Ok(()) };
        if let Some(source) = cx.board().get::<SourcePlan>() {
            let directories = plan.directories.iter().map(|(_, directory)| directory.as_str());
            source.differs_from(directories, self.btrfs.host()).await?;
        }
        for base in cx.board().get::<SendPlan>().iter().flat_map(|plan| &plan.0).filter_map(|one| one.base.as_ref()) {
            self.judge(&table, filesystem, base).await?;
        }
        Ok(())
    }

    /// Every read-only subvolume of the file system: an increment may start from any of them.
    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        leftovers::copies(&self.btrfs, &self.into).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], _cx: &CheckCx) -> Result<Holdings> {
        let target = self.target().await?;
        if wanted.is_empty() {
            return Ok(Holdings::at(target, vec![]));
        }
        self.assign(wanted).map_err(refuse)?;
        let table = self.btrfs.table(&[&self.into]).await?;
        let filesystem = check::filesystem(&table, &self.into, self.btrfs.host().name())?;
        let held = table.of(filesystem).into_iter().filter(|seen| seen.subvolume.readonly);
        let guids: Vec<_> = held.map(|seen| seen.subvolume.identity().to_owned()).collect();
        let holding = |part: &SnapshotPart| Holding::of(&part.dataset, guids.clone());
        Ok(Holdings::at(target, wanted.iter().map(holding).collect()))
    }

    async fn begin(&self, header: &StreamHeader, cx: &StageCx) -> Result<Job> {
        arrive::begin(self, header, cx).await
    }

    async fn verify(&self, header: &StreamHeader, _cx: &StageCx) -> Result<()> {
        arrive::verify(self, header).await
    }

    fn stays(&self) -> bool {
        true
    }

    async fn settle(&self, received: &[StreamHeader], cx: &StageCx) -> Result<()> {
        arrive::settle(self, received, cx).await
    }

    async fn finish(&self, received: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
        arrive::finish(self, received, cx).await
    }
}

impl Receiver {
    /// A name for this target that stays the same and differs from any other's: the identity of the
    /// file system, and the directory that the file names.
    async fn target(&self) -> Result<String> {
        let ask = || async {
            check::is_root(&self.btrfs).await?;
            let table = self.btrfs.table(&[&self.into]).await?;
            let filesystem = check::filesystem(&table, &self.into, self.btrfs.host().name())?;
            Ok(format!("{filesystem}:{}", self.into))
        };
        self.target.get_or_try_init(ask).await.cloned()
    }

    /// Refuses a base that is not there, or is not what it was.
    async fn judge(&self, table: &crate::table::Table, filesystem: &str, base: &str) -> Result<()> {
        match check::parent(table, filesystem, base)? {
            Some(seen) => check::pristine(&self.btrfs, table, seen).await,
            None => Err(Error::failed(format!("{} does not hold what the increment starts from", self.into))),
        }
    }

    /// Refuses where less is free than will come.
    async fn room(&self, bytes: Option<u64>) -> Result<()> {
        let (host, into) = (self.btrfs.host(), &self.into);
        let room = room::of_path(host, into).await?;
        let what = format!("the file system of {into} on {}", host.name());
        self.min_free.check(&what, room, bytes, &format!("btrfs filesystem usage {into}"))
    }

    /// Watches, until the run ends, that enough stays free.
    fn watch_room(&self, bytes: Option<u64>, cx: &StageCx) {
        let (host, into) = (Arc::clone(self.btrfs.host()), self.into.clone());
        let what = format!("the file system of {into} on {}", host.name());
        let ask = move || {
            let (host, into) = (Arc::clone(&host), into.clone());
            async move { room::of_path(&host, &into).await }
        };
        self.min_free.watch(what, bytes, ask, cx);
    }

    /// Gives every part its directory, from the beginning.
    fn assign(&self, parts: &[SnapshotPart]) -> Result<Vec<(SnapshotPart, String)>, Unmapped> {
        let mut mapping = self.fresh.clone();
        let pairs = parts.iter().map(|part| Ok((part.clone(), mapping.target(&part.dataset, part.main)?)));
        let pairs = pairs.collect::<Result<_, _>>()?;
        *self.mapping() = mapping;
        Ok(pairs)
    }

    fn mapping(&self) -> MutexGuard<'_, Mapping> {
        self.mapping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of one part's copies, when those above it have theirs.
    fn directory(&self, part: &SnapshotPart) -> Result<String> {
        let directory = self.mapping().target(&part.dataset, part.main);
        directory.map_err(|why| Error::failed(why.to_string()).hint(why.hint(TERMS)))
    }

    /// The path of one part's copy.
    fn copy(&self, part: &SnapshotPart) -> Result<String> {
        Ok(format!("{}/{}", self.directory(part)?, part.snapshot))
    }
}

fn refuse(why: Unmapped) -> Error {
    Error::refused(why.to_string()).hint(why.hint(TERMS))
}
