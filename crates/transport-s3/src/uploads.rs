//! Uploads: what a put has begun and a manifest does not name yet. See `docs/format.md`.
//!
//! Each upload has numbered records, written once and only where there is none of its number: so of two runs
//! that mean to go on with an upload, to end it or to remove it, one wins, whatever either believes of the
//! other.
//!
//! - `begun`: its run stores chunks. They are of no use to a later run yet.
//! - `ready`: the record has all that the manifest will say, but for the chunks. A later run can go on.
//! - `taken`: another run goes on with it.
//! - `left`: its run has failed, and left it for another.
//! - `closed`: its manifest is being written, or its chunks removed. Nothing comes after it.
//!
//! Beside them is a mark for each chunk that is kept, where a later run may go on behind it, see [`KeptChunk`].

mod kept;
mod owner;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use reseed_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chain::every_manifest;
use crate::format::{
    self, MANIFESTS, Manifest, Parent, UPLOADS, VERSION, chunks_of, record_key, record_position, records_of, safe,
};
use crate::seal::Trust;
use crate::store::{Key, Sha256, Store};

pub use kept::{Ahead, Before, KeptChunk, Marks, before, forget_from};
pub use owner::Owner;

/// What every record of an upload calls itself.
pub const FORMAT: &str = "reseed-upload";

/// What has become of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Chunks are stored that only this run can use.
    Begun,
    /// Another run could go on.
    Ready,
    /// Another run goes on.
    Taken,
    /// Its run has failed and left it for another.
    Left,
    /// It is over.
    Closed,
}

/// One record of an upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The upload.
    pub upload: String,
    /// What has become of it.
    pub state: State,
    /// The run that says so.
    pub run: String,
    /// Where that run is.
    pub owner: Owner,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The main dataset.
    pub dataset: String,
    /// The manifest that it is to follow; `None` for a full.
    pub parent: Option<Parent>,
    /// Of one that is ready: the manifest as it will be, its streams without chunks. It calls itself
    /// [`FORMAT`] and is signed as a manifest is, so that it can't be taken for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Manifest>,
}

/// An upload as its records tell it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name.
    pub id: String,
    /// Its records by their numbers; `None` where one can't be read.
    pub records: BTreeMap<u32, Option<Record>>,
}

impl Found {
    /// The newest record, where it can be read.
    pub fn newest(&self) -> Option<&Record> {
        self.records.values().next_back()?.as_ref()
    }

    /// The number of the next record.
    fn next(&self) -> u32 {
        self.records.keys().next_back().map_or(0, |number| number + 1)
    }

    /// Whether nobody works on it: its run has left it or is known to be gone. One that can't be read is
    /// somebody's.
    pub fn is_idle(&self) -> bool {
        self.newest().is_some_and(|newest| newest.state == State::Left || newest.owner.is_gone(newest.at))
    }

    /// What a run could go on with, if these keys have signed it.
    pub fn draft(&self, trust: &Trust) -> Option<&Manifest> {
        let draft = self.records.values().flatten().find_map(|record| record.draft.as_ref())?;
        let bytes = draft.to_bytes().ok()?;
        let good = draft.format == FORMAT && draft.is_right().is_ok() && trust.judge(draft, &bytes).is_ok();
        (good && self.newest()?.state != State::Closed).then_some(draft)
    }
}

/// Every upload of a repository.
///
/// # Errors
/// When the store can't be asked.
pub async fn uploads(store: &dyn Store) -> Result<Vec<Found>> {
    found(store, UPLOADS).await
}

async fn found(store: &dyn Store, prefix: &str) -> Result<Vec<Found>> {
    let mut all: BTreeMap<String, Found> = BTreeMap::new();
    for object in store.list(prefix).await? {
        let Some((id, number)) = record_position(&object.key) else { continue };
        let bytes = store.get(&object.key).await?;
        let record = bytes
            .and_then(|bytes| read_as::<Record>(&object.key, &bytes, FORMAT).ok())
            .filter(|record| safe(&record.upload) == id);
        let name = record.as_ref().map_or_else(|| id.clone(), |record| record.upload.clone());
        let upload = all.entry(id).or_insert_with(|| Found { id: name, records: BTreeMap::new() });
        upload.records.insert(number, record);
    }
    Ok(all.into_values().collect())
}

fn read_as<T: DeserializeOwned>(key: &Key, bytes: &[u8], format: &str) -> Result<T> {
    format::check_preface(key, bytes, format)?;
    serde_json::from_slice(bytes).map_err(|error| format::altered(key).because(error))
}

/// An upload that this run works on.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn Store>,
    newest: Record,
    next: u32,
}

impl Upload {
    /// Begins one, named after the run.
    ///
    /// # Errors
    /// When the record can't be written.
    pub async fn begin(store: &Arc<dyn Store>, run: &str, dataset: &str, parent: Option<Parent>) -> Result<Self> {
        let newest = Record {
            format: FORMAT.to_owned(),
            version: VERSION,
            upload: run.to_owned(),
            state: State::Begun,
            run: run.to_owned(),
            owner: Owner::this_process(),
            at: now(),
            dataset: dataset.to_owned(),
            parent,
            draft: None,
        };
        let mut upload = Self { store: Arc::clone(store), newest: newest.clone(), next: 0 };
        match upload.add(newest).await? {
            true => Ok(upload),
            false => Err(Error::failed(format!("there is an upload of the name {run} in {}", store.url()))),
        }
    }

    /// Goes on with one, unless another run has been first.
    ///
    /// # Errors
    /// When the record can't be written.
    pub async fn take(store: &Arc<dyn Store>, found: &Found, run: &str) -> Result<Option<Self>> {
        let Some(newest) = found.newest() else { return Ok(None) };
        let taken = Record {
            state: State::Taken,
            run: run.to_owned(),
            owner: Owner::this_process(),
            at: now(),
            draft: None,
            ..newest.clone()
        };
        let mut upload = Self { store: Arc::clone(store), newest: taken.clone(), next: found.next() };
        Ok(upload.add(taken).await?.then_some(upload))
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.newest.upload
    }

    /// Says that a later run could go on.
    ///
    /// # Errors
    /// When it can't be said, or another run has gone on already.
    pub async fn ready(&mut self, draft: &Manifest) -> Result<()> {
        self.say(State::Ready, Some(draft.clone())).await
    }

    /// Ends it: from then on no other run goes on with it, or removes it.
    ///
    /// # Errors
    /// When it can't be said, or another run has gone on with it.
    pub async fn close(&mut self) -> Result<()> {
        self.say(State::Closed, None).await
    }

    async fn say(&mut self, state: State, draft: Option<Manifest>) -> Result<()> {
        let record = Record { state, at: now(), draft, ..self.newest.clone() };
        match self.add(record).await? {
            true => Ok(()),
            false => {
                let (id, url) = (self.id(), self.store.url());
                let error = Error::failed(format!("another run has gone on with the upload {id} in {url}"));
                Err(error.hint("let that run end; only one can put what has been begun"))
            }
        }
    }

    /// Adds a record, if there is none of its number.
    async fn add(&mut self, record: Record) -> Result<bool> {
        let key = record_key(&record.upload, self.next)?;
        let text = serde_json::to_vec_pretty(&record).map_err(|e| Error::failed("no record can be made").because(e))?;
        let bytes = Bytes::from(text);
        // One that is there already and the same is ours: the answer to an earlier try was lost.
        let stored = self.store.put_new(&key, bytes.clone(), Sha256::of(&bytes)).await?;
        let mine = stored || self.store.get(&key).await?.as_ref() == Some(&bytes);
        if mine {
            (self.newest, self.next) = (record, self.next + 1);
        }
        Ok(mine)
    }

    /// Removes the records of an upload that is over, the one that says so last.
    ///
    /// # Errors
    /// When one can't be removed.
    pub async fn forget(&self) -> Result<()> {
        forget(self.store.as_ref(), self.id()).await
    }
}

async fn forget(store: &dyn Store, id: &str) -> Result<()> {
    let (records, marks): (Vec<_>, Vec<_>) =
        store.list(&records_of(id)).await?.into_iter().partition(|object| record_position(&object.key).is_some());
    for object in marks.into_iter().chain(records) {
        store.delete(&object.key).await?;
    }
    Ok(())
}

/// Says that a run which has failed leaves its upload for another; nothing where it is not its own any more.
///
/// # Errors
/// When the store refuses.
pub async fn leave(store: &Arc<dyn Store>, id: &str, run: &str) -> Result<()> {
    let Some(mut upload) = own(store, id, run).await? else { return Ok(()) };
    match upload.newest.state {
        State::Left | State::Closed => Ok(()),
        _ => upload.say(State::Left, None).await,
    }
}

/// Removes what a run has put of an upload, unless another run has gone on with it, or a manifest names its
/// chunks: the answer to its writing may have been lost.
///
/// # Errors
/// When the store refuses.
pub async fn abandon(store: &Arc<dyn Store>, id: &str, run: &str) -> Result<()> {
    let Some(mut upload) = own(store, id, run).await? else { return Ok(()) };
    if upload.newest.state == State::Closed || upload.close().await.is_ok() {
        remove(store, id, &upload.newest.dataset).await?;
    }
    Ok(())
}

/// Removes an upload that nobody works on; whether it was there to be removed.
///
/// # Errors
/// When the store refuses.
pub async fn sweep(store: &Arc<dyn Store>, found: &Found, run: &str) -> Result<bool> {
    let Some(newest) = found.newest().filter(|_| found.is_idle()) else { return Ok(false) };
    if newest.state != State::Closed {
        let Some(mut upload) = Upload::take(store, found, run).await? else { return Ok(false) };
        upload.close().await?;
    }
    remove(store, &found.id, &newest.dataset).await?;
    Ok(true)
}

/// The upload, if this run was the last to say something of it.
async fn own(store: &Arc<dyn Store>, id: &str, run: &str) -> Result<Option<Upload>> {
    let found = found(store.as_ref(), &records_of(id)).await?;
    let Some(found) = found.first() else { return Ok(None) };
    let newest = found.newest().filter(|newest| newest.run == run).cloned();
    Ok(newest.map(|newest| Upload {
        store: Arc::clone(store),
        newest: Record { draft: None, ..newest },
        next: found.next(),
    }))
}

/// Removes chunks that no manifest names, and then what is said of them. What can't be read may name them.
async fn remove(store: &Arc<dyn Store>, id: &str, dataset: &str) -> Result<()> {
    let chunks = chunks_of(id);
    let prefix = format!("{MANIFESTS}{}/", safe(dataset));
    let names = |manifest: &Manifest| manifest.stored().iter().any(|stream| stream.has_chunk_below(&chunks));
    let manifests = every_manifest(store.as_ref(), &prefix).await?;
    if !manifests.iter().any(|(_, manifest)| manifest.as_ref().map_or(true, &names)) {
        for object in store.list(&chunks).await? {
            store.delete(&object.key).await?;
        }
    }
    forget(store.as_ref(), id).await
}

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
