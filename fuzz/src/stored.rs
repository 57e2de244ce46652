//! What is read from files, wires and repositories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use reseed_core::codec::{Framed, frame};
use reseed_core::journal::{Ended, Entry, Journals, StageState, StateDirectory, Story, Target, Written};
use reseed_core::report::Outcome;
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
pub(crate) fn pipeline(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // A secret's file is read where it is named; what the machine has there is none of this target's.
    if text.contains("file") {
        return false;
    }
    let set = BTreeMap::from([("primary".to_owned(), "10.0.0.1".to_owned())]);
    let Err(problems) = config::load(text, &set) else { return true };
    assert!(!problems.is_empty());
    for span in problems.iter().filter_map(|problem| problem.span.clone()) {
        assert!(span.start <= span.end && span.end <= text.len() && text.is_char_boundary(span.start), "{span:?}");
    }
    false
}

pub(crate) fn pipelines() -> Vec<Vec<u8>> {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples");
    let of = |directory: String| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = of(samples.to_owned()).chain(of(format!("{samples}/invalid")));
    let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "toml"));
    // Stages of crates that are not linked here are unknown; these are not.
    let good = "name = \"x\"\nstall = \"5m\"\n[[stage]]\nuse = \"exec\"\nrole = \"source\"\nformat = \"tar\"\n\
                argv = [\"tar\", \"-c\", \"${primary}\"]\n[[stage]]\nuse = \"throttle\"\nrate = \"20MiB/s\"\n\
                [[stage]]\nuse = \"exec\"\nrole = \"sink\"\nargv = [\"cat\"]\ntimeout = \"1h\"\n";
    files.filter_map(|file| std::fs::read(file.path()).ok()).chain([good.into()]).collect()
}

/// A manifest: what is read is written again and read as the same.
pub(crate) fn manifest(data: &[u8]) -> bool {
    let Ok(key) = manifest_key("tank/pg", "20260101t000000-abcdef", 0) else { return false };
    let Ok(manifest) = Manifest::read(&key, data) else { return false };
    let bytes = manifest.to_bytes().expect("what was read can be written");
    assert_eq!(Manifest::read(&key, &bytes).ok(), Some(manifest));
    true
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

/// A journal: a story that can be told, or the line that is not what was written. Cut off behind any of its
/// lines it is one too.
pub(crate) fn journal(data: &[u8]) -> bool {
    let path = Path::new("/var/lib/reseed/runs/x.jsonl");
    let Ok(story) = Story::read(data, path) else { return false };
    assert!(!story.is_open() || story.ended.is_none() || !story.left().is_empty());
    let ends = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    for cut in ends {
        let earlier = Story::read(&data[..cut], path).expect("its beginning was whole");
        assert!(
            (!earlier.torn || cut == data.len())
                && earlier.begin == story.begin
                && earlier.stages.len() <= story.stages.len()
        );
    }
    true
}

/// The journals of a run that went well, of one that died at work, and of one that was cut off while it wrote.
pub(crate) fn journals() -> Vec<Vec<u8>> {
    static WRITTEN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    WRITTEN.get_or_init(|| write_journals().expect("journals can be written")).clone()
}

fn write_journals() -> reseed_core::Result<Vec<Vec<u8>>> {
    let undo = r#"{"kind":"zfs-destroy-snapshot","does":"destroy a@b","by_hand":"zfs destroy a@b","data":{"a":1}}"#;
    let undo = serde_json::from_str(undo).map_err(|error| Error::failed("no record").because(error))?;
    let stage = |state, seconds| Entry::Stage { stage: "zfs-send".into(), state, seconds, error: None };
    let entries = [
        Entry::Locked(Target { host: "local".into(), what: "dataset".into(), name: "tank/pg".into() }),
        stage(StageState::Started, None),
        Entry::Armed { id: 1, stack: None, branch: Some("one".into()), undo },
        stage(StageState::Finished, Some(0.5)),
        Entry::Committed { stack: None, chores: vec![] },
        Entry::Ended(Ended { outcome: Outcome::Done, exit_code: 0, report: None }),
    ];
    let directory = std::env::temp_dir().join(format!("reseed-fuzz-journals-{}", std::process::id()));
    let written = Written {
        state: StateDirectory::at(&directory),
        path: "reset.toml".into(),
        file: "name = \"reset\"\n".into(),
        set: BTreeMap::from([("primary".into(), "10.0.0.1".into())]),
    };
    let mut all = vec![];
    for (run, entries) in [("whole", &entries[..]), ("died", &entries[..3])] {
        let journal = written.begin(run, "reset")?;
        entries.iter().try_for_each(|entry| journal.write(entry))?;
        all.push(std::fs::read(directory.join(format!("runs/{run}.jsonl")))?);
    }
    std::fs::remove_dir_all(&directory)?;
    let torn = all[0][..all[0].len() - 9].to_vec();
    all.push(torn);
    Ok(all)
}

fn pieces(data: &[u8]) -> BoxStream {
    Box::new(Chunks::new(data.chunks(PIECE).map(Bytes::copy_from_slice).collect()))
}

/// Frames of a wire: what is given is no longer than what came, and only a whole stream ends cleanly.
pub(crate) fn frames(data: &[u8]) -> bool {
    let Ok(bytes) = now(collect(Framed::boxed(pieces(data)), MOST)) else { return false };
    assert!(bytes.len() < data.len());
    let again = now(collect(frame(pieces(&bytes)), MOST)).expect("what came can be framed");
    assert_eq!(now(collect(Framed::boxed(pieces(&again)), MOST)).ok(), Some(bytes));
    true
}

pub(crate) fn framed() -> Vec<Vec<u8>> {
    let all = |stream: BoxStream| now(collect(frame(stream), MOST)).unwrap_or_default();
    let failing = Chunks::failing(vec!["abc".into()], Error::failed("disk is on fire"));
    vec![all(pieces(b"")), all(pieces(b"some bytes")), all(Box::new(failing))]
}

/// A ZFS stream, whole and in pieces: both times the same is seen of it.
pub(crate) fn zfs_stream(data: &[u8]) -> bool {
    let read = |piece: usize| {
        let mut reader = registry::reader("zfs").expect("the storage is linked");
        let read = data.chunks(piece).try_for_each(|piece| reader.push(piece)).and_then(|()| reader.finish());
        assert!(reader.border() <= data.len() as u64);
        (read.is_ok(), reader.seen().to_guid)
    };
    let whole = read(data.len().max(1));
    assert_eq!(whole, read(PIECE));
    whole.0
}

pub(crate) fn zfs_streams() -> Vec<Vec<u8>> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/storage-zfs/src/stream/recorded");
    let files = std::fs::read_dir(recorded).into_iter().flatten().flatten();
    // The small ones: what is changed must not be mostly data of files.
    let small = files.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() < 1 << 15));
    let compressed = small.filter(|file| file.path().extension().is_some_and(|end| end == "zst"));
    let streams = compressed.filter_map(|file| zstd::decode_all(std::fs::File::open(file.path()).ok()?).ok());
    streams.map(|stream| stream[..stream.len().min(1 << 16)].to_vec()).chain([vec![]]).collect()
}

/// A btrfs stream, as it is judged on its way, whole and in pieces: both times the same.
pub(crate) fn btrfs_stream(data: &[u8]) -> bool {
    let judge = |piece: usize| {
        let mut verifier = Verifier::new(expected());
        data.chunks(piece).try_for_each(|piece| verifier.push(piece)).and_then(|()| verifier.finish()).is_ok()
    };
    let whole = judge(data.len().max(1));
    assert_eq!(whole, judge(PIECE));
    whole
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
