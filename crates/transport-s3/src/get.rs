//! The stage `s3-get`.

mod rest;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Problem, Ref};
use reseed_core::item::{
    ArrivalsStay, FileBeside, FilesBeside, Item, LeftOut, Payload, StagedFacts, StreamHeader, StreamItem,
};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Stage, StageCx};
use reseed_core::stream::Metered;
use reseed_core::{Error, Format, Kind, Mismatch, Result, StreamKind, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::chain::{Broken, Chain, Link, refuse_other_versions, trusted_chains};
use crate::chunks::{Reading, read};
use crate::format::{self, Manifest, Stream};
use crate::put::forged;
use crate::repository::RepositoryResource;
use crate::seal::Seal;
use crate::store::{Counted, Store};

/// Takes streams from a staged repository: for a target that holds nothing the whole chain, for one that
/// holds a part of it the increments that it lacks. A chunk's bytes go on only when its SHA-256 is right.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetConfig {
    /// The repository.
    repository: Ref,
    /// The storage whose streams are wanted, as the stage that sent them calls it: `zfs` for those of `zfs-send`,
    /// for an `exec` source its `format`.
    storage: String,
    /// The main dataset on the source, where the repository has chains of more than one.
    dataset: Option<String>,
    /// The manifest up to which is restored, as `reseed staged list --json` and `show` name it; by default the
    /// newest.
    state: Option<String>,
    /// Whether a run that was interrupted keeps the increments that had come whole, and where the receiver can what
    /// had come of the next, so that the next run goes on behind that. Off by default: a run that fails leaves
    /// nothing. Of no use where it is received in place.
    #[serde(default)]
    resume: bool,
    /// Chunks that are fetched ahead of the receiver, from 1 to 64; by default 4.
    #[serde(default = "ahead")]
    ahead: Located<usize>,
}

fn ahead() -> Located<usize> {
    Located::nowhere(4)
}

register_stage!(GetConfig);

impl StageConfig for GetConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let good = (1..=64).contains(&*self.ahead);
        if !good {
            cx.problem(Problem::at(self.ahead.span(), "1 to 64 chunks may be on their way"));
        }
        let repository = cx.resource::<RepositoryResource>("repositories", &self.repository)?;
        let (store, seal) = (Arc::clone(&repository.0), Arc::clone(&repository.1));
        let how = Reading { ahead: *self.ahead, identities: seal.identities.clone() };
        let Self { storage, dataset, state, resume, .. } = self;
        good.then(|| Arc::new(Get { store, seal, storage, dataset, state, resume, how }) as _)
    }
}

const NAME: &str = "s3-get";

#[derive(Debug)]
struct Get {
    store: Arc<dyn Store>,
    seal: Arc<Seal>,
    storage: String,
    dataset: Option<String>,
    state: Option<String>,
    resume: bool,
    how: Reading,
}

/// What the survey chose, for the run: what is restored is what was checked.
#[derive(Debug, Clone)]
struct Chosen(Vec<Link>);

#[async_trait]
impl Stage for Get {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let gives = Kind::Stream(StreamKind::plain(Format::named(self.storage.clone())));
        match input {
            Kind::Start => Ok(gives),
            other => Err(Mismatch::new("the start of a pipeline", other, gives)),
        }
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let all = trusted_chains(self.store.as_ref(), &self.seal.trust).await.map_err(Error::into_refusal)?;
        refuse_other_versions(&all)?;
        let instead = |error| forged(&all, self.dataset.as_deref()).map_or(error, untrusted);
        let chain = self.choose(&all).map_err(instead)?;
        let links = self.up_to(chain);
        if let Some(broken) = chain.broken.as_ref().filter(|_| links.len() == chain.links.len()) {
            if chain.forged {
                return Err(untrusted(broken));
            }
            cx.warn(format!("the chain ends early: {}: {}", broken.object, broken.why));
        }
        if let Some(newest) = links.last() {
            cx.board().put(StagedFacts(newest.manifest.facts.clone()));
        }
        cx.board().put(Chosen(links.to_vec()));
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let (missing, held) = self.missing(cx).await.map_err(Error::into_refusal)?;
        missing
            .iter()
            .flat_map(|link| link.manifest.stored())
            .try_for_each(|stream| self.seal.identities.open(&stream))?;
        let (chunks, stored) = sizes(&missing);
        let what = match missing.first().is_some_and(|link| link.manifest.parent.is_none()) {
            true => "the whole",
            false => "what the target lacks",
        };
        let (number, mib) = (missing.len(), stored.div_ceil(1 << 20));
        cx.note(format!("from {}: {what}, {number} manifests, {chunks} chunks, {mib} MiB", self.store.url()));
        for stream in missing.first().iter().flat_map(|link| &link.manifest.streams) {
            if let Some(rest) = rest::of(stream, &self.storage, &held).filter(|_| self.resume) {
                let (dataset, skipped, of) = (&stream.dataset, rest.chunk, stream.chunks.len());
                cx.note(format!("{dataset}: goes on where it was cut off, behind {skipped} of {of} chunks"));
            }
        }
        Ok(())
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let (missing, held) = self.missing(cx).await?;
        let newest = missing.last().ok_or_else(|| Error::failed("there is nothing to get"))?;
        let facts = newest.manifest.facts.clone();
        cx.board().put(self.beside(&newest.manifest));
        if self.resume {
            cx.board().put(ArrivalsStay);
        }
        let (mut streams, store) = (vec![], Counted::reads(&self.store, &cx.meters().wire));
        for link in &missing {
            let left_out: Vec<_> = link
                .manifest
                .left_out
                .iter()
                .map(|left| LeftOut { dataset: left.dataset.clone(), mountpoint: left.mountpoint.clone() })
                .collect();
            for stream in &link.manifest.streams {
                let header = self.header(stream, left_out.clone());
                let (header, bytes) = match rest::of(stream, &self.storage, &held).filter(|_| self.resume) {
                    Some(rest) => rest.of(header, &store, stream, &self.how)?,
                    None => (header, read(&store, stream, &self.how)),
                };
                header.estimate.into_iter().for_each(|bytes| cx.meters().expect(bytes));
                streams.push(StreamItem::here(header, Metered::boxed(bytes, Arc::clone(&cx.meters().stream))));
            }
        }
        Ok(Item { facts, ..input.with(Payload::Streams(streams)) })
    }
}

impl Get {
    /// Whether this is the state that is wanted.
    fn is_wanted(&self, link: &Link) -> bool {
        self.state.as_deref() == Some(link.key.as_str())
    }

    /// What of a chain is restored: all, or up to the state that is wanted.
    fn up_to<'c>(&self, chain: &'c Chain) -> &'c [Link] {
        let wanted = chain.links.iter().position(|link| self.is_wanted(link));
        &chain.links[..wanted.map_or(chain.links.len(), |at| at + 1)]
    }

    fn choose<'c>(&self, all: &'c [Chain]) -> Result<&'c Chain> {
        if let Some(state) = &self.state {
            let has = |chain: &&Chain| chain.links.iter().any(|link| self.is_wanted(link));
            return all.iter().find(has).ok_or_else(|| {
                let error = Error::refused(format!("{} has no {state} that could be restored", self.store.url()));
                error.hint(format!("`reseed staged list {}` names what is there", self.store.url()))
            });
        }
        let fits = |chain: &&Chain| {
            let storage = chain.links.first().is_some_and(|link| link.manifest.storage == self.storage);
            storage && self.dataset.as_deref().is_none_or(|dataset| chain.dataset() == Some(dataset))
        };
        let mut fitting: Vec<_> = all.iter().filter(fits).collect();
        fitting.sort_by(|one, other| one.newest().map(Link::order).cmp(&other.newest().map(Link::order)));
        let mut datasets: Vec<_> = fitting.iter().filter_map(|chain| chain.dataset()).collect();
        datasets.sort_unstable();
        datasets.dedup();
        match (fitting.pop(), &datasets[..]) {
            (Some(chain), [_]) => Ok(chain),
            (Some(_), several) => {
                let error = Error::refused(format!("{} has chains of several datasets", self.store.url()));
                Err(error.hint(format!("name one: `dataset = \"…\"`, of {}", several.join(", "))))
            }
            (None, _) if all.is_empty() => {
                let error = Error::refused(format!("{} is no repository: there is no manifest", self.store.url()));
                Err(error.hint("see whether the address is right, with its prefix, and whether s3-put has run"))
            }
            (None, _) => {
                let error = Error::refused(format!("{} has nothing that could be restored", self.store.url()));
                Err(error.hint(format!(
                    "see whether `storage = \"{}\"`, `dataset` and the address are right, and whether s3-put has run",
                    self.storage
                )))
            }
        }
    }

    /// The files that belong to the state at which the target arrives.
    fn beside(&self, newest: &Manifest) -> FilesBeside {
        let file = |file: &format::FileBeside| {
            let (store, stream, how) = (Arc::clone(&self.store), file.as_stream(), self.how.clone());
            FileBeside { name: file.name.clone(), open: Arc::new(move || read(&store, &stream, &how)) }
        };
        FilesBeside(newest.files.iter().map(file).collect())
    }

    /// The manifests whose streams the target lacks, and what it holds.
    async fn missing(&self, cx: &CheckCx) -> Result<(Vec<Link>, Holdings)> {
        let chosen = cx.board().get::<Chosen>().ok_or_else(|| Error::failed("the repository was not surveyed"))?;
        let newest = chosen.0.last().ok_or_else(|| Error::failed("the chain is empty"))?;
        let parts: Vec<_> = newest.manifest.streams.iter().map(Stream::part).collect();
        let held = cx.holdings(&parts).await?;
        let start = chosen.0.iter().rposition(|link| holds(&held, link)).map_or(0, |at| at + 1);
        if start == chosen.0.len() {
            let error = Error::refused(format!("{} holds the newest that is in {}", held.target, self.store.url()));
            return Err(error.hint("there is nothing to do until s3-put has run again"));
        }
        Ok((chosen.0[start..].to_vec(), held))
    }

    fn header(&self, stream: &Stream, left_out: Vec<LeftOut>) -> StreamHeader {
        StreamHeader {
            from_guid: stream.from_guid.clone(),
            between: stream.between.clone(),
            made: stream.made.clone(),
            estimate: Some(stream.size),
            left_out,
            ..StreamHeader::new(stream.part(), Format::named(self.storage.clone()))
        }
    }
}

fn untrusted(Broken { object, why }: &Broken) -> Error {
    let error = Error::refused(format!("{object} is not trusted: {why}"));
    error.hint("see who wrote it; if it is right, add the public key of its writer to the repository's `trusted`")
}

/// Whether the target has all that a manifest arrives at.
fn holds(held: &Holdings, link: &Link) -> bool {
    link.manifest.streams.iter().all(|stream| held.of(&stream.dataset).contains(&stream.guid))
}

/// Number and stored bytes of all chunks.
fn sizes(links: &[Link]) -> (usize, u64) {
    let chunks = links.iter().flat_map(|link| &link.manifest.streams).flat_map(|stream| &stream.chunks);
    (chunks.clone().count(), chunks.map(|chunk| chunk.stored).sum())
}

#[cfg(test)]
mod tests;
