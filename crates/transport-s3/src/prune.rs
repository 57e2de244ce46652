//! Removing what is not kept, in two steps: what is to go is marked, and goes a grace time later.
//!
//! Nothing is removed because a mark says so: it is removed because nothing needs it **now**, and a mark that
//! is old enough says that nothing needed it for that long. So whoever began to read or to add to something
//! before it was marked has the grace time to end, and a mark that is lost or forged can at most shorten or
//! lengthen it. A manifest goes before its chunks and after all that follow it, so that a cut at any point
//! leaves chains that are whole.

mod keep;
mod mark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reseed_core::Result;

use crate::chain::{Chain, every_manifest, trusted_chains};
use crate::format::{CHUNKS, ChunkName, MANIFESTS, Manifest, UPLOADS, marked_upload, safe};
use crate::seal::Trust;
use crate::store::{Key, Object, Store};
use crate::uploads::{Found, now, sweep, uploads};

pub use keep::Keep;
use mark::Mark;

/// What is kept, and how long what is not stays all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Policy {
    /// What is kept of each dataset.
    pub keep: Keep,
    /// Seconds between marking and removing: longer than any get, and than any put, may take.
    pub grace: u64,
}

/// What nothing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surplus {
    /// The object; for an interrupted upload, what the names of all its records begin with.
    pub object: String,
    /// Its bytes.
    pub bytes: u64,
    /// Since when it is marked, in seconds since 1970; `None` where it is not.
    pub since: Option<u64>,
    /// Whether it is to go now.
    pub ripe: bool,
}

/// What a repository holds, and what of it is to go.
#[derive(Debug)]
pub struct Prune {
    /// Manifests that stay.
    pub kept: Vec<String>,
    /// What nothing needs, in the order in which it may go.
    pub surplus: Vec<Surplus>,
    /// What is left alone, and why.
    pub left_alone: Vec<String>,
    uploads: Vec<Found>,
    marks: Vec<Key>,
    at: u64,
}

impl Prune {
    /// Looks what is to go. Nothing is changed.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn look(store: &dyn Store, trust: &Trust, policy: Policy) -> Result<Self> {
        Self::look_at(store, trust, policy, now()).await
    }

    /// As [`Prune::look`], at a time of its own.
    async fn look_at(store: &dyn Store, trust: &Trust, policy: Policy, at: u64) -> Result<Self> {
        // In this order: what is put meanwhile is named by a manifest that is read, or by an upload.
        let (chunks, begun) = (store.list(CHUNKS).await?, store.list(UPLOADS).await?);
        let uploads = uploads(store).await?;
        let manifests = every_manifest(store, MANIFESTS).await?;
        let chains = trusted_chains(store, trust).await?;
        let (mark, marks) = Mark::newest(store).await?;
        let since = |object: &str| mark.as_ref().and_then(|mark| mark.since(object));
        let old = |since: Option<u64>| since.is_some_and(|since| since.saturating_add(policy.grace) <= at);

        let depths = kept(&chains, &uploads, policy.keep, at);
        let surplus = |object: &str, bytes, may: bool| {
            let since = since(object);
            Surplus { object: object.to_owned(), bytes, since, ripe: may && old(since) }
        };
        let mut prune = Self { kept: vec![], surplus: vec![], left_alone: vec![], uploads, marks, at };
        for chain in &chains {
            let Some(deepest) = prune.deepest(chain, &depths) else { continue };
            let mut may = true;
            for link in chain.links.iter().rev() {
                let (key, depth) = (link.key.as_str(), link.manifest.depth);
                if deepest.is_some_and(|deepest| depth <= deepest) {
                    prune.kept.push(key.to_owned());
                    continue;
                }
                let one = surplus(key, 0, may);
                may &= one.ripe;
                prune.surplus.push(one);
            }
        }
        prune.add_chunks(&chunks, &manifests, surplus);
        for found in prune.uploads.iter().filter(|found| found.is_idle()) {
            let records = crate::format::records_of(&found.id);
            prune.surplus.push(surplus(&records, 0, true));
        }
        prune.add_marks(&begun, surplus);
        Ok(prune)
    }

    /// Up to which depth a chain is kept; outer `None` where it is left alone.
    fn deepest(&mut self, chain: &Chain, depths: &BTreeMap<String, u32>) -> Option<Option<u32>> {
        if let Some(broken) = &chain.broken {
            self.left_alone.push(format!("{}: it is broken at {}: {}", chain.name, broken.object, broken.why));
            self.kept.extend(chain.links.iter().map(|link| link.key.as_str().to_owned()));
            return None;
        }
        Some(depths.get(&chain.name).copied())
    }

    /// Adds the chunks that no manifest will name once those that are ripe are gone, and no upload has.
    fn add_chunks(
        &mut self,
        chunks: &[Object],
        manifests: &[(Key, Result<Manifest>)],
        surplus: impl Fn(&str, u64, bool) -> Surplus,
    ) {
        let unreadable = manifests.iter().find_map(|(key, manifest)| manifest.as_ref().err().map(|_| key));
        if let Some(key) = unreadable {
            self.left_alone.push(format!("all chunks: {key} can't be read, and may name any of them"));
            return;
        }
        let goes = |key: &Key, ripe_only: bool| {
            self.surplus.iter().any(|one| one.object == key.as_str() && (one.ripe || !ripe_only))
        };
        let named = |ripe_only: bool| -> BTreeSet<String> {
            let stay =
                manifests.iter().filter(|(key, _)| !goes(key, ripe_only)).filter_map(|(_, read)| read.as_ref().ok());
            stay.flat_map(Manifest::stored).flat_map(|stream| stream.chunks).map(|chunk| chunk.object).collect()
        };
        let (needed, needed_still) = (named(false), named(true));
        let uploading: BTreeSet<_> = self.uploads.iter().map(|found| safe(&found.id)).collect();
        let mine = |object: &&Object| {
            ChunkName::read(&object.key).is_some_and(|name| !uploading.contains(&name.upload))
                && !needed.contains(object.key.as_str())
        };
        let add = |object: &Object| {
            let name = object.key.as_str();
            surplus(name, object.size, !needed_still.contains(name))
        };
        let found: Vec<_> = chunks.iter().filter(mine).map(add).collect();
        self.surplus.extend(found);
    }

    /// Adds marks of chunks whose upload has no record any more: another run took it for dead while it went on.
    fn add_marks(&mut self, begun: &[Object], surplus: impl Fn(&str, u64, bool) -> Surplus) {
        let known: BTreeSet<_> = self.uploads.iter().map(|found| safe(&found.id)).collect();
        let stray = begun.iter().filter(|one| marked_upload(&one.key).is_some_and(|upload| !known.contains(upload)));
        self.surplus.extend(stray.map(|mark| surplus(mark.key.as_str(), mark.size, true)));
    }

    /// What would go now.
    pub fn ripe(&self) -> impl Iterator<Item = &Surplus> {
        self.surplus.iter().filter(|one| one.ripe)
    }

    /// Marks what is to go and is not marked, and removes what was marked long enough ago. Gives the number
    /// of objects that are gone, and their bytes.
    ///
    /// # Errors
    /// When the store refuses: what is gone by then is gone, and the next call does the rest.
    pub async fn apply(&self, store: &Arc<dyn Store>, run: &str) -> Result<(usize, u64)> {
        let marked = self.surplus.iter().map(|one| (one.object.clone(), one.since.unwrap_or(self.at)));
        let written = Mark::new(self.at, marked.collect()).write(store.as_ref(), run).await?;
        for old in self.marks.iter().filter(|old| **old != written) {
            store.delete(old).await?;
        }
        let (mut objects, mut bytes) = (0, 0);
        for one in self.ripe() {
            if !self.is_upload(&one.object, store, run).await? {
                store.delete(&Key::new(&*one.object)?).await?;
            }
            (objects, bytes) = (objects + 1, bytes + one.bytes);
        }
        Ok((objects, bytes))
    }

    /// Removes an upload, if it is one.
    async fn is_upload(&self, records: &str, store: &Arc<dyn Store>, run: &str) -> Result<bool> {
        let Some(found) = self.uploads.iter().find(|found| crate::format::records_of(&found.id) == records) else {
            return Ok(false);
        };
        sweep(store, found, run).await?;
        Ok(true)
    }
}

/// The depth up to which each chain is kept; one that is not kept is not there.
fn kept(chains: &[Chain], uploads: &[Found], keep: Keep, at: u64) -> BTreeMap<String, u32> {
    let mut depths: BTreeMap<String, u32> = BTreeMap::new();
    let mut add = |chain: &str, depth: u32| {
        let deepest = depths.entry(chain.to_owned()).or_insert(depth);
        *deepest = depth.max(*deepest);
    };
    let datasets: BTreeSet<_> = chains.iter().filter_map(Chain::dataset).collect();
    for dataset in datasets {
        let of = chains.iter().filter(|chain| chain.dataset() == Some(dataset));
        let points = of.flat_map(|chain| chain.links.iter().map(move |link| (chain, link)));
        let mut points: Vec<_> = points.map(|(chain, link)| (link.order(), link.manifest.depth, &chain.name)).collect();
        points.sort_unstable_by(|a, b| b.cmp(a));
        for index in keep.of(&points.iter().map(|((created, _), ..)| *created).collect::<Vec<_>>(), at) {
            let (_, depth, chain) = points[index];
            add(chain, depth);
        }
    }
    // What somebody is adding to, or may go on adding to.
    for parent in
        uploads.iter().flat_map(|found| found.records.values().flatten()).filter_map(|one| one.parent.as_ref())
    {
        let position = Key::new(&*parent.manifest).ok().and_then(|key| crate::format::position(&key));
        if let Some((chain, depth)) = position {
            add(&chain, depth);
        }
    }
    depths
}

#[cfg(test)]
mod tests;
