//! Cutting a stream into chunks, which are compressed, hashed and stored several at once.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};
use sha2::Digest;
use tokio::task::JoinSet;

use crate::format::{self, Chunk};
use crate::seal::Recipients;
use crate::store::{Key, Sha256, Store};

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

/// A stream that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Sha256,
    /// The pieces, in order.
    pub chunks: Vec<Chunk>,
}

/// Stores a stream as the run's stream of this number. Nothing is of any use to anyone before a
/// manifest names it.
///
/// # Errors
/// When the stream or the store fails. What was stored by then is left to the caller, who knows the
/// names: they begin with [`format::chunks_of`] the run.
pub async fn write(
    store: &Arc<dyn Store>,
    run: &str,
    number: usize,
    stream: BoxStream,
    how: &Writing,
) -> Result<Written> {
    let mut going = Going { tasks: JoinSet::new(), done: vec![], most: how.in_flight.max(1) };
    let (mut hash, mut size) = (sha2::Sha256::new(), 0);
    let mut cutter = Cutter { stream: Some(stream), rest: BytesMut::new(), most: how.chunk.max(1) };
    for index in 0.. {
        let Some(plain) = cutter.next().await? else { break };
        hash.update(&plain);
        size += plain.len() as u64;
        going.room().await?;
        let (store, key, how) = (Arc::clone(store), how.key(run, number, index)?, how.clone());
        going.tasks.spawn(async move { Ok((index, keep(store, key, plain, how).await?)) });
    }
    Ok(Written { size, sha256: Sha256(hash.finalize().into()), chunks: going.end().await? })
}

impl Writing {
    fn key(&self, run: &str, stream: usize, chunk: usize) -> Result<Key> {
        let key = format::chunk_key(run, stream, chunk)?;
        if self.recipients.is_empty() { Ok(key) } else { format::encrypted(&key) }
    }
}

/// Cuts a stream into pieces of one size, the last of which may be shorter.
struct Cutter {
    /// Until its clean end was seen.
    stream: Option<BoxStream>,
    rest: BytesMut,
    most: usize,
}

impl Cutter {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(stream) = &mut self.stream
            && self.rest.len() < self.most
        {
            match stream.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => self.stream = None,
            }
        }
        let piece = self.rest.split_to(self.most.min(self.rest.len())).freeze();
        Ok((!piece.is_empty()).then_some(piece))
    }
}

/// Compresses, encrypts and stores one chunk.
async fn keep(store: Arc<dyn Store>, key: Key, plain: Bytes, how: Writing) -> Result<Chunk> {
    let size = plain.len() as u64;
    let encoding = tokio::task::spawn_blocking(move || encode(&plain, &how));
    let (bytes, sha256) = encoding.await.map_err(|e| Error::failed("compressing broke off").because(e))??;
    let stored = bytes.len() as u64;
    if !store.put_new(&key, bytes, sha256).await? {
        is_mine(store.as_ref(), &key, sha256).await?;
    }
    Ok(Chunk { object: key.as_str().to_owned(), stored, sha256, size })
}

fn encode(plain: &[u8], how: &Writing) -> Result<(Bytes, Sha256)> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), how.level)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(plain.len() as u64))?;
    std::io::Write::write_all(&mut encoder, plain)?;
    let frame = encoder.finish()?;
    let bytes = Bytes::from(if how.recipients.is_empty() { frame } else { how.recipients.encrypt(&frame)? });
    let sha256 = Sha256::of(&bytes);
    Ok((bytes, sha256))
}

/// An object of a chunk's name is there: an earlier try whose answer was lost, or another's.
async fn is_mine(store: &dyn Store, key: &Key, sha256: Sha256) -> Result<()> {
    match store.get(key).await? {
        Some(bytes) if Sha256::of(&bytes) == sha256 => Ok(()),
        _ => Err(Error::failed(format!("{key} in {} was written by another run", store.url()))),
    }
}

/// Chunks that are on their way. To drop it is to give them up.
struct Going {
    tasks: JoinSet<Result<(usize, Chunk)>>,
    done: Vec<(usize, Chunk)>,
    most: usize,
}

impl Going {
    /// Waits until one more may be on its way.
    async fn room(&mut self) -> Result<()> {
        while self.tasks.len() >= self.most {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<()> {
        let Some(ended) = self.tasks.join_next().await else { return Ok(()) };
        self.done.push(ended.map_err(|e| Error::failed("storing a chunk broke off").because(e))??);
        Ok(())
    }

    /// All of them, in order.
    async fn end(mut self) -> Result<Vec<Chunk>> {
        while !self.tasks.is_empty() {
            self.one().await?;
        }
        self.done.sort_by_key(|(index, _)| *index);
        Ok(self.done.into_iter().map(|(_, chunk)| chunk).collect())
    }
}
