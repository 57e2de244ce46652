//! What unit tests of several modules put into repositories.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Result;
use reseed_core::item::Facts;
use reseed_core::stream::{BoxStream, ByteStream};

use crate::chain::{Link, publish};
use crate::chunks::{Keeping, Writing, write};
use crate::format::{Chunk, FORMAT, Manifest, Parent, Stream, VERSION};
use crate::seal::Recipients;
use crate::store::{Sha256, Store};

struct Once(VecDeque<Bytes>);

#[async_trait]
impl ByteStream for Once {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.pop_front())
    }
}

/// A stream of these bytes.
pub(crate) fn once(bytes: Vec<u8>) -> BoxStream {
    Box::new(Once([Bytes::from(bytes)].into()))
}

/// Chunks of 100 bytes.
pub(crate) fn how() -> Writing {
    Writing { chunk: 100, level: 3, in_flight: 2, recipients: Recipients::default() }
}

/// The stream of `tank/pg` that these chunks are.
pub(crate) fn stream(depth: u32, chunks: Vec<Chunk>, sha256: Sha256) -> Stream {
    Stream {
        dataset: "tank/pg".into(),
        mountpoint: "/pg".into(),
        snapshot: format!("s{depth}"),
        guid: format!("g{depth}"),
        from_guid: depth.checked_sub(1).map(|before| format!("g{before}")),
        between: vec![],
        made: None,
        main: true,
        encodings: vec![],
        recipients: vec![],
        size: chunks.iter().map(|chunk| chunk.size).sum(),
        sha256,
        head: None,
        chunks,
    }
}

/// A manifest of one stream.
pub(crate) fn manifest(run: &str, depth: u32, parent: Option<Parent>, stream: Stream) -> Manifest {
    Manifest {
        format: FORMAT.into(),
        version: VERSION,
        signature: None,
        run: run.into(),
        created: 1,
        parent,
        depth,
        storage: "zfs".into(),
        streams: vec![stream],
        left_out: vec![],
        files: vec![],
        facts: Facts::default(),
    }
}

/// Puts 250 bytes into the chain of this root, made at this time.
pub(crate) async fn put(
    store: &Arc<dyn Store>,
    root: &str,
    depth: u32,
    parent: Option<Parent>,
    created: u64,
) -> Result<Link> {
    let run = if depth == 0 { root.to_owned() } else { format!("{root}.{depth}") };
    let data = (0..250u32).map(|n| (n * (depth + 3)) as u8).collect();
    let written = write(&Keeping::new(store, &run), 0, once(data), &how()).await?;
    let stream = stream(depth, written.chunks, written.sha256);
    publish(store.as_ref(), root, &Manifest { created, ..manifest(&run, depth, parent, stream) }).await
}

/// Every object's name.
pub(crate) async fn names(store: &Arc<dyn Store>) -> Vec<String> {
    store.list("").await.unwrap().into_iter().map(|object| object.key.to_string()).collect()
}
