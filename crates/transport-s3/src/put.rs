//! The stage `s3-put`.

mod begun;
mod going;
mod undo;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Period, Problem, Ref, Size};
use reseed_core::item::{Item, Payload, SnapshotPart, StreamItem};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Holding, Holdings, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result, StreamKind, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use self::begun::Begun;
use self::going::Going;
use self::undo::{PruneRepository, Repository};
use crate::chain::{Broken, Chain, Link, refuse_other_versions, trusted_chains};
use crate::chunks::Writing;
use crate::format::{LARGEST_CHUNK, is_of};
use crate::prune::{Keep, Policy};
use crate::repository::RepositoryResource;
use crate::seal::Seal;
use crate::store::{Store, probe};

/// Puts streams into a staged repository: compressed chunks with checksums, and a manifest at last. The
/// first run puts the whole, each later one what has changed since the newest that is there.
///
/// Any standby can be brought up to date from there by `s3-get`, at any time, without the source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PutConfig {
    /// The repository.
    repository: Ref,
    /// Bytes of a stream in one chunk, from 1 MiB to 1 GiB; by default 32 MiB. A chunk is what is
    /// retried when something fails, and what is in memory.
    #[serde(default = "chunk")]
    chunk: Located<Size>,
    /// Level of zstd, from 1 to 19; by default 3.
    #[serde(default = "level")]
    level: Located<i32>,
    /// Chunks that are compressed and stored at once, from 1 to 64; by default 4. Twice as many, three times
    /// where they are encrypted, and that of one more are in memory: the check says how much that is.
    #[serde(default = "in_flight")]
    in_flight: Located<usize>,
    /// Increments after which the whole is put again, so that a restore never needs more; by default 30. With 0
    /// every run puts the whole.
    #[serde(default = "max_increments")]
    max_increments: u32,
    /// Whether a run that was interrupted keeps what it has put, and its snapshot, so that the next run goes
    /// on with that instead of a new one: only what is missing is put then. Off by default: a run that fails
    /// leaves nothing. In a branch of `tee` it is of no use.
    #[serde(default)]
    resume: bool,
    /// What is kept of each dataset in the repository, for example `{ daily = 14, weekly = 8 }`; the rest is
    /// removed after runs that went well, as by `reseed staged prune --apply`. By default all stays.
    keep: Option<Keep>,
    /// How long something stays after `keep` has marked it to be removed: longer than any get, and than any
    /// put, may take. Default: `24h`.
    #[serde(default = "grace")]
    grace: Period,
}

fn grace() -> Period {
    Period::seconds(24 * 3600)
}

fn chunk() -> Located<Size> {
    Located::nowhere(Size::bytes(32 << 20).expect("it is more than nothing"))
}

fn level() -> Located<i32> {
    Located::nowhere(3)
}

fn in_flight() -> Located<usize> {
    Located::nowhere(4)
}

fn max_increments() -> u32 {
    30
}

register_stage!(PutConfig);

impl StageConfig for PutConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let mut good = true;
        let mut within = |fine: bool, span, what: &str| {
            good &= fine;
            (!fine).then(|| cx.problem(Problem::at(span, what)));
        };
        within((1 << 20..=LARGEST_CHUNK).contains(&self.chunk.get()), self.chunk.span(), "a chunk has 1 MiB to 1 GiB");
        within((1..=19).contains(&*self.level), self.level.span(), "levels go from 1 to 19");
        within((1..=64).contains(&*self.in_flight), self.in_flight.span(), "1 to 64 chunks may be on their way");
        let repository = cx.resource::<RepositoryResource>("repositories", &self.repository)?;
        let chunk = usize::try_from(self.chunk.get()).ok()?;
        let recipients = repository.1.recipients.clone();
        let how = Writing { chunk, level: *self.level, in_flight: *self.in_flight, recipients };
        let (store, seal, name) = (Arc::clone(&repository.0), Arc::clone(&repository.1), self.repository.to_string());
        let Self { max_increments, resume, .. } = self;
        let policy = self.keep.map(|keep| Policy { keep, grace: self.grace.0.as_secs() });
        good.then(|| Arc::new(Put { store, seal, name, how, max_increments, resume, policy }) as _)
    }
}

const NAME: &str = "s3-put";

/// How a new chain begins.
const PUT_THE_WHOLE: &str = "put the whole once: run it with `max_increments = 0`";

#[derive(Debug)]
struct Put {
    store: Arc<dyn Store>,
    seal: Arc<Seal>,
    name: String,
    how: Writing,
    max_increments: u32,
    resume: bool,
    policy: Option<Policy>,
}

#[async_trait]
impl Stage for Put {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Stream(stream) if stream.encodings.is_empty() => Ok(Kind::Staged(stream.clone())),
            Kind::Stream(stream) => {
                let gives = Kind::Staged(StreamKind::plain(stream.format.clone()));
                Err(Mismatch::new("a plain stream", input, gives).hint("s3-put compresses by itself"))
            }
            other => Err(Mismatch::new("a plain stream", other, other.clone())),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim { what: "repository", host: "local".to_owned(), name: self.name.clone() }]
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let copies = if self.how.recipients.is_empty() { 2 } else { 3 };
        let most = (self.how.in_flight + 1) * copies * (self.how.chunk >> 20);
        cx.note(format!("into {}, with at most about {most} MiB of chunks in memory", self.store.url()));
        let (encrypted, signed) = (!self.how.recipients.is_empty(), self.seal.signer.is_some());
        if encrypted {
            cx.note(format!("encrypted to {}", self.how.recipients.names().join(" and ")));
        }
        if signed {
            cx.note("with a signed manifest");
        }
        if let Some(weakness) = self.store.weakness() {
            cx.warn(format!("{}: {weakness}", self.store.url()));
        }
        let chains = trusted_chains(self.store.as_ref(), &self.seal.trust).await.map_err(Error::into_refusal)?;
        refuse_other_versions(&chains)?;
        probe(self.store.as_ref()).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        let base = match wanted.iter().find(|part| part.main) {
            Some(main) => self.base(&main.dataset, cx).await?,
            None => None,
        };
        let holding = |part: &SnapshotPart| {
            let newest = base.as_ref().and_then(|(_, link)| link.manifest.of(&part.dataset));
            let guids = newest.iter().map(|stream| stream.guid.clone()).collect();
            Holding { made: newest.and_then(|stream| stream.made.clone()), ..Holding::of(&part.dataset, guids) }
        };
        let held = Holdings::at(self.store.url(), wanted.iter().map(holding).collect());
        Ok(Some(Holdings { anew: Some(PUT_THE_WHOLE), ..held }))
    }

    async fn unfinished(&self, datasets: &[&str], cx: &CheckCx) -> Result<Option<Vec<SnapshotPart>>> {
        if !self.resumes(cx) {
            return Ok(None);
        }
        let begun = begun::find(self, datasets, cx).await.map_err(Error::into_refusal)?;
        Ok(begun.map(|begun| begun.parts()))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Item { payload, facts } = input;
        let Payload::Streams(streams) = payload else { return Err(Error::failed("s3-put was given no streams")) };
        let kind = streams.first().map(StreamItem::kind).ok_or_else(|| Error::failed("there is no stream to put"))?;
        let headers: Vec<_> = streams.iter().map(|stream| stream.header.clone()).collect();
        let begun = cx.board().get::<Begun>().filter(|begun| begun.is_of(&headers));
        let mut going = match begun {
            Some(begun) => Going::on(self, &begun, cx).await?,
            None => Going::begin(self, &headers, facts.clone(), cx).await?,
        };
        let link = going.put(streams).await?;
        if let Some(policy) = self.policy {
            cx.after_commit(PruneRepository { repository: self.repository(), policy, run: cx.run_id().to_owned() })?;
        }
        report(&link, cx);
        Ok(Item { payload: Payload::Staged(kind), facts })
    }
}

impl Put {
    /// Whether an interrupted put is to be gone on with. A branch's streams are not its own to keep.
    fn resumes(&self, cx: &CheckCx) -> bool {
        self.resume && cx.branch().is_none()
    }

    /// The repository, as a record names it.
    fn repository(&self) -> Repository {
        Repository::new(&self.name, &self.store, &self.seal)
    }

    /// The newest manifest to which an increment of this dataset can be added, and the root of its
    /// chain.
    async fn base(&self, main: &str, cx: &CheckCx) -> Result<Option<(String, Link)>> {
        let all = trusted_chains(self.store.as_ref(), &self.seal.trust).await?;
        refuse_other_versions(&all)?;
        let Some(chain) = newest_of(&all, main) else {
            warn_of_forged(&all, main, cx);
            return Ok(None);
        };
        if let Some(broken) = &chain.broken {
            cx.warn(format!("the newest chain is broken, so a new one begins: {}: {}", broken.object, broken.why));
            return Ok(None);
        }
        let Some(link) = chain.newest().filter(|link| link.manifest.depth < self.max_increments) else {
            return Ok(None);
        };
        let root = chain.links.first().map(|full| full.manifest.run.clone());
        Ok(root.map(|root| (root, link.clone())))
    }
}

/// Says why a new chain begins where there are some, none of which begins with a trusted manifest.
fn warn_of_forged(all: &[Chain], dataset: &str, cx: &CheckCx) {
    if let Some(Broken { object, why }) = forged(all, Some(dataset)) {
        cx.warn(format!("a new chain begins: {object} is not trusted: {why}"));
    }
}

/// Where the newest chain that begins with a manifest that is not trusted does so.
pub(crate) fn forged<'c>(all: &'c [Chain], dataset: Option<&str>) -> Option<&'c Broken> {
    let fits = |chain: &&Chain| chain.forged && dataset.is_none_or(|dataset| is_of(&chain.name, dataset));
    // The name ends with the run that began it, and that with its time first.
    all.iter().filter(fits).max_by_key(|chain| &chain.name)?.broken.as_ref()
}

/// The chain of a dataset to which something was added last.
pub(crate) fn newest_of<'c>(chains: &'c [Chain], dataset: &str) -> Option<&'c Chain> {
    let of = |chain: &&Chain| chain.dataset() == Some(dataset);
    chains.iter().filter(of).max_by(|one, other| one.newest().map(Link::order).cmp(&other.newest().map(Link::order)))
}

fn report(link: &Link, cx: &StageCx) {
    let main = link.manifest.streams.iter().find(|stream| stream.main).cloned();
    cx.note(format!("the repository has {} now", link.key));
    cx.report(|report| {
        report.full = link.manifest.parent.is_none();
        report.from_guid = main.as_ref().and_then(|stream| stream.from_guid.clone());
        report.to_guid = main.map(|stream| stream.guid);
    });
}
