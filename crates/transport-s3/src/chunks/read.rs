//! A stored stream as it was. No byte goes on before its chunk's hash was checked.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};
use sha2::Digest;
use tokio_util::task::AbortOnDropHandle;

use super::judge::Judge;
use crate::chain::Broken;
use crate::format::{Chunk, Stream};
use crate::seal::Identities;
use crate::store::{Key, Sha256, Store};

/// How streams are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Chunks that are fetched ahead of whoever takes the bytes.
    pub ahead: usize,
    /// What opens chunks that are encrypted.
    pub identities: Identities,
}

/// The stream as it was before it was cut. It ends cleanly only when all of it was right.
pub fn read(store: &Arc<dyn Store>, stream: &Stream, how: &Reading) -> BoxStream {
    Box::new(Chunks {
        fetching: Fetching::new(store, stream, how),
        dataset: stream.dataset.clone(),
        whole: Some((sha2::Sha256::new(), stream.sha256)),
    })
}

/// The stream from one of its chunks on. Each chunk's hash is checked, as everywhere; that all of them together are
/// the stream is for whoever knows what is in front of it.
pub fn read_from(store: &Arc<dyn Store>, stream: &Stream, chunk: usize, how: &Reading) -> BoxStream {
    let rest = Stream { chunks: stream.chunks.get(chunk..).unwrap_or_default().to_vec(), ..stream.clone() };
    Box::new(Chunks { fetching: Fetching::new(store, &rest, how), dataset: stream.dataset.clone(), whole: None })
}

/// The objects of a stream that are not what was stored, every one of them read; with a reader of its format
/// also what is wrong with the stream itself, named by the chunk that holds the place.
///
/// # Errors
/// When the store can't be asked: that says nothing about the stream.
pub(crate) async fn examine(
    store: &Arc<dyn Store>,
    stream: &Stream,
    mut judge: Judge,
    how: &Reading,
) -> Result<Vec<Broken>> {
    let (mut fetching, mut hash) = (Fetching::new(store, stream, how), sha2::Sha256::new());
    let mut chunks = stream.chunks.iter().map(|chunk| &chunk.object);
    let (mut broken, mut damage, mut last) = (vec![], None, "");
    while let Some(fetched) = fetching.next().await? {
        last = chunks.next().map_or("", String::as_str);
        match fetched {
            Ok(plain) => {
                hash.update(&plain);
                if broken.is_empty() && damage.is_none() {
                    damage = judge.push(&plain).err().map(|why| Broken { object: last.to_owned(), why });
                }
            }
            Err(found) => broken.push(found),
        }
    }
    // Whatever is missing or altered is told by its object; what follows from that is not.
    if broken.is_empty() && Sha256(hash.finalize().into()) != stream.sha256 {
        let object = stream.chunks.first().map(|chunk| chunk.object.clone()).unwrap_or_default();
        broken.push(Broken { object, why: "its chunks together are not the stream that was stored".to_owned() });
    } else if broken.is_empty() {
        let end = || judge.finish().err().map(|why| Broken { object: last.to_owned(), why: why.to_string() });
        broken.extend(damage.or_else(end));
    }
    Ok(broken)
}

/// Chunks in order, some of them fetched ahead.
struct Fetching {
    store: Arc<dyn Store>,
    wanted: VecDeque<Chunk>,
    coming: VecDeque<AbortOnDropHandle<Result<Result<Bytes, Broken>>>>,
    ahead: usize,
    /// For a stream that is encrypted.
    identities: Option<Identities>,
}

impl Fetching {
    fn new(store: &Arc<dyn Store>, stream: &Stream, how: &Reading) -> Self {
        let wanted = stream.chunks.clone().into();
        let identities = (!stream.recipients.is_empty()).then(|| how.identities.clone());
        Self { store: Arc::clone(store), wanted, coming: VecDeque::new(), ahead: how.ahead.max(1), identities }
    }

    async fn next(&mut self) -> Result<Option<Result<Bytes, Broken>>> {
        while self.coming.len() < self.ahead
            && let Some(chunk) = self.wanted.pop_front()
        {
            let fetching = tokio::spawn(fetch(Arc::clone(&self.store), chunk, self.identities.clone()));
            self.coming.push_back(AbortOnDropHandle::new(fetching));
        }
        let Some(next) = self.coming.pop_front() else { return Ok(None) };
        next.await.map_err(|e| Error::failed("fetching a chunk broke off").because(e))?.map(Some)
    }
}

struct Chunks {
    fetching: Fetching,
    dataset: String,
    /// What takes the bytes of a stream that is read as a whole, and what it must come to.
    whole: Option<(sha2::Sha256, Sha256)>,
}

#[async_trait]
impl ByteStream for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.fetching.next().await? {
            Some(Ok(plain)) => {
                if let Some((hash, _)) = &mut self.whole {
                    hash.update(&plain);
                }
                Ok(Some(plain))
            }
            Some(Err(Broken { object, why })) => Err(Error::failed(format!("{object} can't be used: {why}"))),
            None => self.end().map(|()| None),
        }
    }
}

impl Chunks {
    fn end(&mut self) -> Result<()> {
        let differs = self.whole.take().is_some_and(|(hash, sha256)| Sha256(hash.finalize().into()) != sha256);
        match differs {
            false => Ok(()),
            true => Err(Error::failed(format!("the stream of {} is not the one that was stored", self.dataset))),
        }
    }
}

/// One chunk's bytes, once its object is known to be the one that was stored.
async fn fetch(store: Arc<dyn Store>, chunk: Chunk, identities: Option<Identities>) -> Result<Result<Bytes, Broken>> {
    let object = store.get(&Key::new(&*chunk.object)?).await?;
    let checking = tokio::task::spawn_blocking(move || {
        let plain = object
            .ok_or_else(|| "it is missing".to_owned())
            .and_then(|object| decode(&chunk, &object, identities.as_ref()));
        plain.map_err(|why| Broken { object: chunk.object, why })
    });
    checking.await.map_err(|e| Error::failed("decompressing broke off").because(e))
}

fn decode(chunk: &Chunk, object: &[u8], identities: Option<&Identities>) -> Result<Bytes, String> {
    if object.len() as u64 != chunk.stored {
        return Err(format!("it has {} bytes, and {} were stored", object.len(), chunk.stored));
    }
    if Sha256::of(object) != chunk.sha256 {
        return Err("its SHA-256 is not the one that was stored".to_owned());
    }
    let opened = identities.map(|identities| identities.decrypt(object)).transpose()?;
    let frame = opened.as_deref().unwrap_or(object);
    if chunk.frame.is_some_and(|sha256| Sha256::of(frame) != sha256) {
        return Err("what is encrypted in it is not what was stored".to_owned());
    }
    let size = usize::try_from(chunk.size).map_err(|_| "no memory holds it".to_owned())?;
    let plain = zstd::bulk::decompress(frame, size).map_err(|error| format!("it can't be decompressed: {error}"))?;
    match plain.len() == size {
        true => Ok(plain.into()),
        false => Err(format!("{} bytes are in it, and not {size}", plain.len())),
    }
}
