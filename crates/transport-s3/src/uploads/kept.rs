//! What an upload says of each chunk that is kept, so that another run can go on behind it without having what
//! is in front: where the source supports that, it sends only the rest then.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reseed_core::reader::Place;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use tokio::task::JoinSet;

use super::read_as;
use crate::format::{Chunk, VERSION, chunks_of, mark_key, marks_of};
use crate::seal::{Signer, Trust};
use crate::store::{Key, Object, Sha256, Store};

/// What every mark calls itself.
const FORMAT: &str = "reseed-kept";
/// Marks that are read at once.
const AT_ONCE: usize = 16;

/// A chunk that is kept, and what is known of the stream behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptChunk {
    /// `reseed-kept`.
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Ed25519, in base64, over the bytes of the object without the line of this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The upload.
    pub upload: String,
    /// Number of the stream in it, from 0.
    pub stream: usize,
    /// Number of the chunk in the stream, from 0.
    pub index: usize,
    /// The chunk, as the manifest will name it.
    pub chunk: Chunk,
    /// Bytes of the stream in it and in front of it.
    pub size: u64,
    /// State of a SHA-256 that has taken those bytes, in base64.
    pub hash: String,
    /// How the stream begins, in the storage's own words.
    pub head: String,
    /// What is known behind the chunk, in the storage's own words; `None` where the stream can't be gone on with
    /// there.
    pub place: Option<String>,
}

/// Marks chunks that are kept.
#[derive(Debug, Clone, Default)]
pub struct Marks(pub Option<Signer>);

/// A stream up to the cut behind one of its chunks.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// The stream's number in its upload.
    pub stream: usize,
    /// How many chunks are in front of the cut, with the one before it.
    pub chunks: usize,
    /// What has taken the bytes in front of the cut.
    pub hash: sha2::Sha256,
    /// The cut; `None` where the stream can't be gone on with there.
    pub place: Option<Place>,
    /// Bytes in front of the cut.
    pub size: u64,
    /// How the stream begins.
    pub head: String,
}

/// The part of a stream that is kept, and behind which it can be gone on with.
#[derive(Debug, Clone)]
pub struct Before {
    /// Its chunks.
    pub chunks: Vec<Chunk>,
    /// What has taken its bytes.
    pub hash: sha2::Sha256,
    /// Where it ends.
    pub place: Place,
}

impl KeptChunk {
    fn to_bytes(&self) -> Result<Bytes> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|e| Error::failed("a mark can't be written").because(e))?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    fn unsigned(&self) -> Result<Bytes> {
        Self { signature: None, ..self.clone() }.to_bytes()
    }
}

impl Marks {
    /// Says that a chunk is kept.
    ///
    /// # Errors
    /// When that can't be stored.
    pub async fn mark(&self, store: &Arc<dyn Store>, upload: &str, chunk: &Chunk, ahead: Ahead) -> Result<()> {
        let Ahead { stream, chunks, hash, place, size, head } = ahead;
        let index = chunks.saturating_sub(1);
        let mut mark = KeptChunk {
            format: FORMAT.to_owned(),
            version: VERSION,
            signature: None,
            upload: upload.to_owned(),
            stream,
            index,
            chunk: chunk.clone(),
            size,
            hash: BASE64.encode(hash.serialize()),
            head,
            place: place.map(|place| place.state),
        };
        mark.signature = self.0.as_ref().map(|signer| mark.unsigned().map(|bytes| signer.sign(&bytes))).transpose()?;
        let bytes = mark.to_bytes()?;
        let sha256 = Sha256::of(&bytes);
        store.put(&mark_key(upload, stream, index)?, bytes, sha256).await
    }
}

/// What of a stream of an upload is kept whole from its beginning on, as far as it can be gone on with behind it and
/// as these keys have signed it.
///
/// # Errors
/// When the store can't be asked.
pub async fn before(store: &Arc<dyn Store>, upload: &str, stream: usize, trust: &Trust) -> Result<Option<Before>> {
    let there: BTreeMap<_, _> =
        store.list(&chunks_of(upload)).await?.into_iter().map(|Object { key, size }| (key, size)).collect();
    let (mut chunks, mut size, mut found) = (vec![], 0_u64, None);
    for mark in marks(store, upload, stream).await? {
        let fits = (mark.stream, mark.index) == (stream, chunks.len()) && mark.upload == upload;
        size = size.saturating_add(mark.chunk.size);
        let kept = Key::new(&*mark.chunk.object).ok().and_then(|key| there.get(&key).copied());
        if !fits || size != mark.size || kept != Some(mark.chunk.stored) || !is_trusted(&mark, trust) {
            break;
        }
        chunks.push(mark.chunk);
        let Some((state, hash)) = mark.place.zip(hash(&mark.hash)) else { continue };
        found = Some((chunks.len(), hash, Place { offset: size, head: mark.head, state }));
    }
    Ok(found.map(|(count, hash, place)| {
        chunks.truncate(count);
        Before { chunks, hash, place }
    }))
}

/// Forgets what is said of the chunks of a stream from this one on: what follows may be others.
///
/// # Errors
/// When the store refuses.
pub async fn forget_from(store: &Arc<dyn Store>, upload: &str, stream: usize, chunk: usize) -> Result<()> {
    let first = mark_key(upload, stream, chunk)?;
    for object in store.list(&marks_of(upload, stream)).await? {
        if object.key >= first {
            store.delete(&object.key).await?;
        }
    }
    Ok(())
}

/// The marks of a stream that can be read, in order.
async fn marks(store: &Arc<dyn Store>, upload: &str, stream: usize) -> Result<Vec<KeptChunk>> {
    let mut keys: Vec<_> = store.list(&marks_of(upload, stream)).await?.into_iter().map(|object| object.key).collect();
    keys.sort();
    let mut all = vec![];
    for keys in keys.chunks(AT_ONCE) {
        let mut reading = JoinSet::new();
        for key in keys.iter().cloned() {
            let store = Arc::clone(store);
            reading.spawn(async move { Ok::<_, Error>((store.get(&key).await?, key)) });
        }
        while let Some(read) = reading.join_next().await {
            let (bytes, key) = read.map_err(|e| Error::failed("reading a mark broke off").because(e))??;
            all.extend(bytes.and_then(|bytes| read_as::<KeptChunk>(&key, &bytes, FORMAT).ok()));
        }
    }
    all.sort_by_key(|mark| mark.index);
    Ok(all)
}

fn is_trusted(mark: &KeptChunk, trust: &Trust) -> bool {
    mark.unsigned().is_ok_and(|signed| trust.judge_bytes(&signed, mark.signature.as_deref()).is_ok())
}

fn hash(state: &str) -> Option<sha2::Sha256> {
    let bytes = BASE64.decode(state).ok()?;
    sha2::Sha256::deserialize(&SerializedState::<sha2::Sha256>::try_from(&bytes[..]).ok()?).ok()
}
