//! What is read from files, wires and repositories.

use std::collections::BTreeMap;

use bytes::Bytes;
use reseed_core::codec::{Framed, frame};
use reseed_core::stream::{BoxStream, Chunks, collect};
use reseed_core::{Error, config, registry};
use reseed_storage_btrfs::stream::{Expected, Verifier};
use reseed_transport_s3::format::{Manifest, manifest_key};

use super::now;

/// Bytes of an input that are looked at in one piece.
const PIECE: usize = 7;
/// More than any input here can stand for.
const MOST: usize = 1 << 24;

/// A pipeline file: a pipeline, or problems whose places are in the file.
pub(crate) fn pipeline(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A secret's file is read where it is named; what the machine has there is none of this target's.
    if text.contains("file") {
        return;
    }
    let set = BTreeMap::from([("primary".to_owned(), "10.0.0.1".to_owned())]);
    if let Err(problems) = config::load(text, &set) {
        assert!(!problems.is_empty());
        for span in problems.iter().filter_map(|problem| problem.span.clone()) {
            assert!(span.start <= span.end && span.end <= text.len() && text.is_char_boundary(span.start), "{span:?}");
        }
    }
}

pub(crate) fn pipelines() -> Vec<Vec<u8>> {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples");
    let of = |directory: String| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = of(samples.to_owned()).chain(of(format!("{samples}/invalid")));
    let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "toml"));
    files.filter_map(|file| std::fs::read(file.path()).ok()).collect()
}

/// A manifest: what is read is written again and read as the same.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(key) = manifest_key("tank/pg", "20260101t000000-abcdef", 0) else { return };
    let Ok(manifest) = Manifest::read(&key, data) else { return };
    let bytes = manifest.to_bytes().expect("what was read can be written");
    assert_eq!(Manifest::read(&key, &bytes).ok(), Some(manifest));
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let chunk = format!(r#"{{"object":"chunks/a/000/00000000.zst","stored":3,"sha256":"{hash}","size":4}}"#);
    let stream = format!(
        r#"{{"dataset":"tank/pg","mountpoint":"/pg","snapshot":"reseed-1","guid":"ff","from_guid":null,"main":true,
            "encodings":[],"recipients":[],"size":4,"sha256":"{hash}","chunks":[{chunk}]}}"#
    );
    let head = r#""format":"reseed-staged","version":1,"run":"20260101t000000-abcdef","created":1767225600"#;
    let tail = r#""left_out":[{"dataset":"tank/wal","mountpoint":"/wal"}],"facts":{}"#;
    let full = format!(r#"{{{head},"parent":null,"depth":0,"storage":"zfs","streams":[{stream}],{tail}}}"#);
    let parent = format!(r#"{{"manifest":"manifests/a/b/000000.json","sha256":"{hash}"}}"#);
    let next = full.replace(r#""parent":null,"depth":0"#, &format!(r#""parent":{parent},"depth":1"#));
    let next = next.replace(r#""from_guid":null"#, r#""from_guid":"fe""#);
    vec![full.into_bytes(), next.into_bytes()]
}

fn pieces(data: &[u8]) -> BoxStream {
    Box::new(Chunks::new(data.chunks(PIECE).map(Bytes::copy_from_slice).collect()))
}

/// Frames of a wire: what is given is no longer than what came, and only a whole stream ends cleanly.
pub(crate) fn frames(data: &[u8]) {
    if let Ok(bytes) = now(collect(Framed::boxed(pieces(data)), MOST)) {
        assert!(bytes.len() < data.len());
        let again = now(collect(frame(pieces(&bytes)), MOST)).expect("what came can be framed");
        assert_eq!(now(collect(Framed::boxed(pieces(&again)), MOST)).ok(), Some(bytes));
    }
}

pub(crate) fn framed() -> Vec<Vec<u8>> {
    let all = |stream: BoxStream| now(collect(frame(stream), MOST)).unwrap_or_default();
    let failing = Chunks::failing(vec!["abc".into()], Error::failed("disk is on fire"));
    vec![all(pieces(b"")), all(pieces(b"some bytes")), all(Box::new(failing))]
}

/// A ZFS stream, whole and in pieces: both times the same is seen of it.
pub(crate) fn zfs_stream(data: &[u8]) {
    let read = |piece: usize| {
        let mut reader = registry::reader("zfs").expect("the storage is linked");
        let read = data.chunks(piece).try_for_each(|piece| reader.push(piece)).and_then(|()| reader.finish());
        assert!(reader.border() <= data.len() as u64);
        (read.is_ok(), reader.seen().to_guid)
    };
    assert_eq!(read(data.len().max(1)), read(PIECE));
}

pub(crate) fn zfs_streams() -> Vec<Vec<u8>> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/storage-zfs/src/stream/recorded");
    let files = std::fs::read_dir(recorded).into_iter().flatten().flatten();
    // The small ones: what is changed must not be mostly data of files.
    let small = files.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() < 1 << 15));
    let compressed = small.filter(|file| file.path().extension().is_some_and(|end| end == "zst"));
    let streams = compressed.filter_map(|file| zstd::decode_all(std::fs::File::open(file.path()).ok()?).ok());
    streams.map(|stream| stream[..stream.len().min(1 << 13)].to_vec()).chain([vec![]]).collect()
}

/// A btrfs stream, as it is judged on its way, whole and in pieces: both times the same.
pub(crate) fn btrfs_stream(data: &[u8]) {
    let judge = |piece: usize| {
        let mut verifier = Verifier::new(expected());
        data.chunks(piece).try_for_each(|piece| verifier.push(piece)).and_then(|()| verifier.finish()).is_ok()
    };
    assert_eq!(judge(data.len().max(1)), judge(PIECE));
}

fn expected() -> Expected {
    Expected { version: 1, name: "a".into(), uuid: "00000000-0000-0000-0000-000000000001".into(), base: None }
}

pub(crate) fn btrfs_streams() -> Vec<Vec<u8>> {
    let magic = b"btrfs-stream\0\x01\0\0\0".to_vec();
    let end = [&magic[..], &[0, 0, 0, 0, 21, 0, 0, 0, 0, 0]].concat();
    let named = [&magic[..], &[5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 15, 0, 1, 0, b'a']].concat();
    vec![magic, end, named]
}
