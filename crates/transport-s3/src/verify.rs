//! Whether a chain can be restored, and up to where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reseed_core::Result;

use crate::chain::{Broken, Chain};
use crate::chunks::{Judge, Reading, examine};
use crate::format::{Chunk, Manifest};
use crate::seal::Identities;
use crate::store::Store;

/// Chunks that are read at once.
const AHEAD: usize = 4;

/// How closely chains are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every object is there and has its size.
    Shallow,
    /// Every object is read back, hashed, decrypted and decompressed, and what the streams are made of is
    /// judged where there is a reader for it: every record, and that they come to their own end.
    Deep,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The newest manifest to which everything can be restored.
    pub restorable: Option<String>,
    /// Each object that is not as it should be.
    pub broken: Vec<Broken>,
    /// Chunks that were looked at.
    pub chunks: usize,
    /// Their bytes as they are stored.
    pub stored: u64,
}

/// Looks at everything that a chain needs; one that is encrypted is for [`verify_with`].
///
/// # Errors
/// When the store can't be asked, or what is encrypted would have to be read: that says nothing about
/// the chain.
pub async fn verify(store: &Arc<dyn Store>, chain: &Chain, depth: Depth) -> Result<Verdict> {
    verify_with(store, chain, depth, &Identities::default()).await
}

/// Looks at everything that a chain needs, and opens with these keys what is encrypted.
///
/// # Errors
/// When the store can't be asked, or a deep look has not the key: that says nothing about the chain.
pub async fn verify_with(
    store: &Arc<dyn Store>,
    chain: &Chain,
    depth: Depth,
    identities: &Identities,
) -> Result<Verdict> {
    if depth == Depth::Deep {
        let mut streams = chain.links.iter().flat_map(|link| link.manifest.stored());
        streams.try_for_each(|stream| identities.open(&stream))?;
    }
    let how = Reading { ahead: AHEAD, identities: identities.clone() };
    let mut verdict = Verdict::default();
    for link in &chain.links {
        let found = broken(store, &link.manifest, depth, &how).await?;
        let stored = link.manifest.stored();
        let chunks = stored.iter().flat_map(|stream| &stream.chunks);
        verdict.chunks += chunks.clone().count();
        verdict.stored += chunks.map(|chunk| chunk.stored).sum::<u64>();
        verdict.broken.extend(found);
        if verdict.broken.is_empty() {
            verdict.restorable = Some(link.key.as_str().to_owned());
        }
    }
    verdict.broken.extend(chain.broken.clone());
    Ok(verdict)
}

/// The objects of one manifest that are not as it says.
async fn broken(store: &Arc<dyn Store>, manifest: &Manifest, depth: Depth, how: &Reading) -> Result<Vec<Broken>> {
    let mut broken = vec![];
    if depth == Depth::Deep {
        for stream in &manifest.streams {
            broken.extend(examine(store, stream, Judge::of(&manifest.storage, stream), how).await?);
        }
        for file in &manifest.files {
            broken.extend(examine(store, &file.as_stream(), Judge::default(), how).await?);
        }
        return Ok(broken);
    }
    let mut listed = vec![];
    for directory in directories(manifest) {
        listed.extend(store.list(&directory).await?);
    }
    let sizes: BTreeMap<_, _> = listed.iter().map(|object| (object.key.as_str(), object.size)).collect();
    for chunk in manifest.stored().iter().flat_map(|stream| &stream.chunks) {
        let why = wrong(chunk, sizes.get(&*chunk.object).copied());
        broken.extend(why.map(|why| Broken { object: chunk.object.clone(), why }));
    }
    Ok(broken)
}

/// What the names of its chunks begin with: those of an upload, and of whatever else it was made of.
fn directories(manifest: &Manifest) -> BTreeSet<String> {
    let above = |object: &str| object.rsplit_once('/').map(|(above, _)| format!("{above}/"));
    manifest.stored().iter().flat_map(|stream| &stream.chunks).filter_map(|chunk| above(&chunk.object)).collect()
}

fn wrong(chunk: &Chunk, size: Option<u64>) -> Option<String> {
    match size {
        None => Some("it is missing".to_owned()),
        Some(size) if size != chunk.stored => Some(format!("it has {size} bytes, and {} were stored", chunk.stored)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
