//! Cutting a stream into chunks, which are compressed, hashed and stored several at once.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};

use super::cut::Cutter;
use super::in_flight::InFlight;
use super::judge::Judge;
use crate::format::{self, Chunk, ChunkName};
use crate::seal::Recipients;
use crate::store::{Key, Object, Sha256, Store};
use crate::uploads::{Ahead, Before, Marks};

/// How streams are cut. Memory is bounded by about twice `chunk` for each one in flight, three times where
/// they are encrypted, and one more that is being filled.
#[derive(Debug, Clone)]
pub struct Writing {
    /// Bytes of the stream in one chunk.
    pub chunk: usize,
    /// Level of zstd.
    pub level: i32,
    /// Chunks that are compressed and stored at once.
    pub in_flight: usize,
    /// To whom chunks are encrypted.
    pub recipients: Recipients,
}

/// Where the chunks of an upload are kept, and which of them are there already.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The upload: chunks have it in their names.
    pub upload: String,
    /// What an earlier run has put of it.
    pub there: Arc<There>,
    /// What says of chunks that they are kept, where a later run may go on behind them.
    pub marks: Option<Marks>,
}

impl Keeping {
    /// The chunks of an upload of which nothing is there.
    pub fn new(store: &Arc<dyn Store>, upload: &str) -> Self {
        Self { store: Arc::clone(store), upload: upload.to_owned(), there: Arc::default(), marks: None }
    }

    /// Those of an upload that was begun: what is there is found by listing it.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn begun(store: &Arc<dyn Store>, upload: &str) -> Result<Self> {
        let there = There::of(store.list(&format::chunks_of(upload)).await?);
        Ok(Self { there: Arc::new(there), ..Self::new(store, upload) })
    }
}

/// Chunks that are there, by what their names say of their frames.
#[derive(Debug, Default)]
pub struct There(HashMap<String, (Object, Option<Sha256>)>);

impl There {
    fn of(objects: Vec<Object>) -> Self {
        let named = |object: Object| ChunkName::read(&object.key).map(|name| (name.stem, (object, name.object)));
        Self(objects.into_iter().filter_map(named).collect())
    }

    /// How many there are, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.0.len(), self.0.values().map(|(object, _)| object.size).sum())
    }

    /// The object that holds this frame, as a chunk of so many bytes.
    fn chunk(&self, stem: &str, frame: &[u8], sha256: Sha256, size: u64, is_encrypted: bool) -> Option<Chunk> {
        let (object, encrypted) = self.0.get(stem)?;
        let name = || object.key.as_str().to_owned();
        match encrypted {
            Some(sha256_of_object) if is_encrypted && object.size > frame.len() as u64 => Some(Chunk {
                object: name(),
                stored: object.size,
                sha256: *sha256_of_object,
                frame: Some(sha256),
                size,
                place: None,
            }),
            None if !is_encrypted && object.size == frame.len() as u64 => {
                Some(Chunk { object: name(), stored: object.size, sha256, frame: None, size, place: None })
            }
            _ => None,
        }
    }
}

/// A stream that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Sha256,
    /// The pieces, in order.
    pub chunks: Vec<Chunk>,
    /// How it begins, in the storage's own words, where it can be gone on with behind some of them.
    pub head: Option<String>,
    /// Bytes of objects that had to be stored: the others were there.
    pub sent: u64,
}

/// Stores a stream as the upload's stream of this number. Nothing is of any use to anyone before a
/// manifest names it.
///
/// # Errors
/// When the stream or the store fails. What was stored by then is left to the caller, who knows the
/// names: they begin with [`format::chunks_of`] the upload. Nothing is on its way any more, so that
/// whoever lists them then sees all.
pub async fn write(to: &Keeping, number: usize, stream: BoxStream, how: &Writing) -> Result<Written> {
    write_judged(to, number, stream, Judge::default(), how).await
}

/// The same for a stream that is judged on its way: it is cut between its records, and one that is
/// damaged or not whole is an error.
///
/// # Errors
/// As [`write()`], and when the stream is not what it must be.
pub async fn write_judged(
    to: &Keeping,
    number: usize,
    stream: BoxStream,
    judge: Judge,
    how: &Writing,
) -> Result<Written> {
    let cutter = Cutter::new(stream, judge, how.chunk.max(1), 0);
    InFlight::new(how, None).stream(to, number, cutter, how).await
}

/// Stores what follows the part of a stream that is kept, as its further chunks.
///
/// # Errors
/// As [`write_judged()`], and when no stream of the storage has such a place.
pub async fn write_behind(
    to: &Keeping,
    number: usize,
    before: Before,
    rest: BoxStream,
    (storage, stream): (&str, &format::Stream),
    how: &Writing,
) -> Result<Written> {
    let judge = Judge::behind(storage, stream, &before.place)?;
    let cutter = Cutter::new(rest, judge, how.chunk.max(1), before.place.offset);
    InFlight::new(how, Some(before)).stream(to, number, cutter, how).await
}

/// A chunk that is kept, and whether it had to be stored for that.
pub(super) type Kept = (Chunk, bool);

/// One chunk to be.
pub(super) struct One {
    /// Number of its stream.
    pub(super) number: usize,
    /// Its own number in that.
    pub(super) index: usize,
    pub(super) plain: Bytes,
    /// What is known in front of it.
    pub(super) place: Option<String>,
    /// What is known behind it, where that matters.
    pub(super) ahead: Option<Ahead>,
}

/// Compresses, encrypts and stores one chunk, unless it is there.
pub(super) async fn keep(to: Keeping, one: One, how: Writing) -> Result<Kept> {
    let (upload, there) = (to.upload.clone(), Arc::clone(&to.there));
    let One { number, index, plain, place, ahead } = one;
    let encoding = tokio::task::spawn_blocking(move || encode(&upload, (number, index), &there, &plain, &how));
    let (chunk, bytes) = encoding.await.map_err(|e| Error::failed("compressing broke off").because(e))??;
    let (chunk, is_new) = (Chunk { place, ..chunk }, bytes.is_some());
    if let Some(bytes) = bytes {
        let key = Key::new(&*chunk.object)?;
        // Whatever has this name is this, or was altered: it need not be the first of its name.
        to.store.put(&key, bytes, chunk.sha256).await?;
    }
    if let (Some(marks), Some(ahead)) = (&to.marks, ahead) {
        marks.mark(&to.store, &to.upload, &chunk, ahead).await?;
    }
    Ok((chunk, is_new))
}

/// One chunk, and its object's bytes where that is not there.
fn encode(
    upload: &str,
    (stream, index): (usize, usize),
    there: &There,
    plain: &[u8],
    how: &Writing,
) -> Result<(Chunk, Option<Bytes>)> {
    let (frame, size) = (compress(plain, how.level)?, plain.len() as u64);
    let sha256 = Sha256::of(&frame);
    let stem = format::chunk_stem(upload, stream, index, &sha256);
    let is_encrypted = !how.recipients.is_empty();
    if let Some(chunk) = there.chunk(&stem, &frame, sha256, size, is_encrypted) {
        return Ok((chunk, None));
    }
    let chunk = |key: Key, bytes: Vec<u8>, sha256, frame| {
        let stored = bytes.len() as u64;
        (Chunk { object: key.as_str().to_owned(), stored, sha256, frame, size, place: None }, Some(Bytes::from(bytes)))
    };
    if !is_encrypted {
        return Ok(chunk(format::chunk_key(&stem)?, frame, sha256, None));
    }
    let bytes = how.recipients.encrypt(&frame)?;
    let of_object = Sha256::of(&bytes);
    Ok(chunk(format::encrypted(&stem, &of_object)?, bytes, of_object, Some(sha256)))
}

fn compress(plain: &[u8], level: i32) -> Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(plain.len() as u64))?;
    std::io::Write::write_all(&mut encoder, plain)?;
    Ok(encoder.finish()?)
}
