//! The stage `zfs-receive`.

mod begin;
mod checks;
mod finish;
mod kept;
mod volume;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Period, Problem, Ref};
use reseed_core::host::{Host, Job};
use reseed_core::item::{Landing, SnapshotPart, StaysPristine, StreamHeader, Volume};
use reseed_core::leftover::Leftovers;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Holding, Holdings, Sink, SinkStage, Stage, StageCx};
use reseed_core::{Error, Format, Result, register_stage};
use reseed_storage::keep;
use reseed_storage::room::MinFree;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::aside::Live;
use crate::mapping::{Goal, Mapping, Unmapped};
use crate::name;
use crate::parse::Said;
use crate::partial::Partials;
use crate::shared::{FORMAT, ReceivePlan, SourcePlan, TERMS, unborn};
use crate::zfs::Zfs;
use crate::{check, leftovers, several};

/// Receives ZFS streams. With `into` the copy is kept pristine beside the live data: read-only,
/// never mounted, so that the chain of increments never breaks; `zfs-clone` makes something to run
/// of it. With `over` the live dataset itself takes the increment: it steps aside, the copy grows
/// from their common snapshot under its name, and when the run fails it is put back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceiveConfig {
    /// The host that receives; the local machine by default.
    on: Option<Ref>,
    /// The dataset below which copies are received, each under the last name of its dataset on the
    /// source, children below their parents: `tank/pg/wal` becomes `data/reseed/pg/wal` for
    /// `into = "data/reseed"`. Made where it is not there, never mounted. Either this or `over`.
    into: Option<Located<String>>,
    /// The live dataset that takes the copy of the main one, in place; what is below it likewise.
    /// The server must be stopped before. Either this or `into`.
    over: Option<Located<String>>,
    /// Names for datasets that belong elsewhere: dataset of the source = dataset of the target.
    #[serde(default)]
    map: BTreeMap<String, Located<String>>,
    /// Must be `true` with `over`: everything that was written to the live dataset since the common
    /// snapshot is given up once the run has succeeded.
    #[serde(default)]
    rollback: bool,
    /// How many of the snapshots that reseed received stay on each dataset, the newest one counted;
    /// at least 1, by default 2. What is held, or has clones, stays in any case.
    #[serde(default = "two")]
    keep: Located<usize>,
    /// How much of the pool must stay free, for the databases that live on it: a share, `5%`, or an
    /// amount, `20GiB`. What would leave less is refused, and the run stops when less is left while it
    /// lasts. By default 5 %, or 1 GiB where that is less, or as much as will come
    /// where that is less still and known; `0%` lets it fill up.
    #[serde(default)]
    min_free: MinFree,
    /// With `over`: how long the live dataset that stepped aside is kept, as
    /// `NAME-reseed-old-RUN`. Without it, it is destroyed as soon as the run has succeeded.
    keep_old: Option<Located<Period>>,
}

/// What helps who means to run a server on the pristine copy.
const CLONE_IT: &str = "put the stage zfs-clone after zfs-receive";

fn two() -> Located<usize> {
    Located::nowhere(2)
}

register_stage!(ReceiveConfig);

impl StageConfig for ReceiveConfig {
    const NAME: &'static str = "zfs-receive";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        self.judge(cx);
        let keep = keep::checked(&self.keep, cx);
        let into = self.into.as_ref().map(|name| check::dataset(name, cx));
        let over = self.over.as_ref().map(|name| check::dataset(name, cx));
        let map = check::map(self.map, cx);
        let host = cx.host(self.on.as_ref());
        let goal = match (into, over) {
            (Some(into), None) => Goal::Into(into?),
            (None, Some(over)) if self.rollback => Goal::Over(over?),
            _ => return None,
        };
        let mapping = Mapping::new(goal.clone(), map?);
        let keep_old = self.keep_old.map(|period| period.0).unwrap_or_default();
        let (zfs, keep) = (Zfs::on(&host?), keep?);
        let (fresh, min_free) = (mapping.clone(), self.min_free);
        let (mapping, moved, target) = (Mutex::new(mapping), Mutex::default(), OnceCell::new());
        Some(Arc::new(SinkStage(Receiver { zfs, goal, fresh, mapping, moved, target, keep, min_free, keep_old })))
    }
}

impl ReceiveConfig {
    /// Reports settings that do not go together.
    fn judge(&self, cx: &mut BuildCx<'_>) {
        match (&self.into, &self.over) {
            (None, None) => {
                let problem = Problem::at(self.keep.span(), "zfs-receive needs `into` or `over`");
                let problem = if self.keep.span().is_empty() { Problem { span: None, ..problem } } else { problem };
                cx.problem(problem.hint("add `into = \"pool/reseed\"`"));
            }
            (Some(into), Some(over)) => {
                let problem = Problem::at(over.span(), "either `into` or `over`, not both");
                cx.problem(problem.related(into.span(), "the other one"));
            }
            (None, Some(over)) if !self.rollback => {
                let text = "`over` gives up what was written to the live dataset since the common snapshot";
                cx.problem(Problem::at(over.span(), text).hint("say so openly: `rollback = true`"));
            }
            _ => {}
        }
        if let (Some(_), Some(keep_old)) = (&self.into, &self.keep_old) {
            let problem = Problem::at(keep_old.span(), "with `into` nothing is set aside here");
            cx.problem(problem.hint("say `keep_old` in the stage that switches"));
        }
    }
}

#[derive(Debug)]
struct Receiver {
    zfs: Zfs,
    goal: Goal,
    /// The mapping before any name was given.
    fresh: Mapping,
    /// The mapping of what is being received.
    mapping: Mutex<Mapping>,
    moved: Mutex<Moved>,
    target: OnceCell<String>,
    keep: usize,
    min_free: MinFree,
    keep_old: Duration,
}

/// In place: what became of the live datasets in this run.
#[derive(Debug, Default)]
struct Moved {
    /// Those that stepped aside.
    lives: Vec<Live>,
    /// Names that were looked at, whether a live dataset bore them or not.
    decided: Vec<String>,
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
        Arc::clone(self.zfs.host())
    }

    /// In place the live data would have to be down for all the rounds.
    fn approaches(&self) -> bool {
        matches!(self.goal, Goal::Into(_))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim { what: "dataset", host: self.zfs.host().name().to_owned(), name: self.top().to_owned() }]
    }

    async fn scout(&self, _cx: &CheckCx) {
        let _ = tokio::join!(self.target(), self.zfs.scout());
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().put(Landing { copy_on_write: true });
        if matches!(self.goal, Goal::Into(_)) {
            cx.board().put(StaysPristine { hint: CLONE_IT });
        }
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let datasets = self.assign(&unborn(&source.layout)).map_err(refuse)?;
        for (part, dataset) in &datasets {
            cx.note(format!("{} is received as {dataset}", part.dataset));
        }
        let resumable = kept::may_keep(self, cx).await?;
        cx.board().put(ReceivePlan { zfs: self.zfs.clone(), datasets, resumable });
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        checks::check(self, cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Holdings> {
        let assigned = self.assign(wanted).map_err(refuse)?;
        kept::look(self, &assigned, cx).await?;
        let mut datasets = Vec::with_capacity(wanted.len());
        let names: Vec<_> = assigned.iter().map(|(_, dataset)| dataset.as_str()).collect();
        let all = self.zfs.snapshots_of(&names).await?;
        for ((part, dataset), snapshots) in assigned.into_iter().zip(all) {
            let held = snapshots.into_iter().filter(|snapshot| !snapshot.is_bookmark());
            let cut_off = Partials::of(cx, &part.dataset).map(|partial| partial.token.cut_off());
            let guids = held.map(|snapshot| snapshot.guid).collect();
            let made = kept::begun(self, &dataset).await?;
            datasets.push(Holding { dataset: part.dataset, guids, made, cut_off });
        }
        Ok(Holdings::at(self.target().await?, datasets))
    }

    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        leftovers::copies(&self.zfs, self.top(), matches!(self.goal, Goal::Over(_))).await
    }

    async fn begin(&self, header: &StreamHeader, cx: &StageCx) -> Result<Job> {
        begin::begin(self, header, cx).await
    }

    fn advice(&self, header: &StreamHeader, said: &str) -> Option<String> {
        match said.contains("cannot receive") {
            true => Said::read(said).hint(&self.dataset(&header.part).ok()?),
            false if said.contains("cannot send") => Said::read(said).hint(&header.part.dataset),
            false => None,
        }
    }

    async fn verify(&self, header: &StreamHeader, _cx: &StageCx) -> Result<()> {
        let dataset = self.dataset(&header.part)?;
        let snapshots = self.zfs.snapshots(&dataset).await?;
        let newest = snapshots.iter().rfind(|snapshot| !snapshot.is_bookmark());
        match newest {
            Some(newest) if newest.guid == header.part.guid => {
                several::mark(&self.zfs, &snapshots, &header.between, &self.target().await?).await?;
                finish::mark(self, header, &dataset).await
            }
            _ => Err(Error::failed(format!("the stream ended well, but {dataset} has no such snapshot"))),
        }
    }

    /// In place the live data comes back, whatever has arrived.
    fn stays(&self) -> bool {
        matches!(self.goal, Goal::Into(_))
    }

    async fn finish(&self, received: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
        finish::finish(self, received, cx).await
    }
}

impl Receiver {
    /// The dataset that the file names.
    fn top(&self) -> &str {
        match &self.goal {
            Goal::Into(name) | Goal::Over(name) => name,
        }
    }

    /// A name for this target that stays the same and differs from any other's: the identity of
    /// the pool's root, and the dataset that the file names.
    async fn target(&self) -> Result<String> {
        let pool = name::pool(self.top());
        let ask = || async {
            match self.zfs.guid(pool).await? {
                Some(guid) => Ok(format!("{guid}:{}", self.top())),
                None => check::existing_above(&self.zfs, pool).await,
            }
        };
        self.target.get_or_try_init(ask).await.cloned()
    }

    /// Gives every part its dataset, from the beginning.
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

    /// The dataset of one part, when those above it have theirs.
    fn dataset(&self, part: &SnapshotPart) -> Result<String> {
        self.dataset_of(&part.dataset, part.main)
    }

    fn dataset_of(&self, source: &str, main: bool) -> Result<String> {
        self.mapping().target(source, main).map_err(|why| Error::failed(why.to_string()).hint(why.hint(TERMS)))
    }
}

fn refuse(why: Unmapped) -> Error {
    Error::refused(why.to_string()).hint(why.hint(TERMS))
}
