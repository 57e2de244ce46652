//! `reseed stream inspect` on recorded streams: sound, cut, altered and none.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const INCREMENT: &[u8] = include_bytes!("../../storage-zfs/src/stream/recorded/openzfs-2.4-increment.zst");
const OTHER: &[u8] = include_bytes!("../../storage-btrfs/src/stream/recorded.stream");

fn increment() -> Vec<u8> {
    zstd::decode_all(INCREMENT).unwrap()
}

fn inspect(options: &[&str], stream: &[u8]) -> Output {
    let mut reseed = Command::new(env!("CARGO_BIN_EXE_reseed"))
        .args(["stream", "inspect"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have seen enough before all of it was written.
    let _ = reseed.stdin.take().unwrap().write_all(stream);
    reseed.wait_with_output().unwrap()
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(stream: &[u8]) -> (i32, Value) {
    let output = inspect(&["--json", "-"], stream);
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_sound_stream_is_told_in_full() {
    let stream = increment();
    let (code, told) = json(&stream);
    assert_eq!((code, &told["format"], told["complete"].as_bool()), (0, &"zfs".into(), Some(true)));
    assert_eq!(told["bytes"], stream.len());
    assert_eq!((&told["from_guid"], &told["to_guid"]), (&"1065eb8b8a3262ee".into(), &"627d96ddf4b743e8".into()));
    assert_eq!((&told["records"]["BEGIN"], &told["records"]["END"]), (&1.into(), &1.into()));
    assert!(told["records"]["WRITE"].as_u64() > Some(0) && told["damage"].is_null(), "{told}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &stream).unwrap();
    let (code, text, error) = self::told(&inspect(&[file.path().to_str().unwrap()], &[]));
    assert!(code == 0 && error.is_empty() && text.contains("complete    yes\n"), "{text}{error}");
    assert!(text.contains("name        tank/pg@2\n") && !text.contains("REDACT"), "{text}");
}

#[test]
fn a_stream_of_another_storage_is_known_by_its_first_bytes() {
    let (code, told) = json(OTHER);
    assert_eq!((code, &told["format"], &told["records"]["write"]), (0, &"btrfs".into(), &1.into()));
    let (code, told) = json(&OTHER[..200]);
    assert_eq!((code, told["complete"].as_bool()), (1, Some(false)));
}

#[test]
fn damage_is_told_with_record_and_byte() {
    let stream = increment();
    let (code, told) = json(&stream[..stream.len() - 1]);
    assert_eq!((code, told["complete"].as_bool()), (1, Some(false)));
    assert_eq!(told["damage"]["offset"], stream.len() - 1);

    let mut altered = stream.clone();
    altered[stream.len() / 2] ^= 1;
    let (code, text, error) = self::told(&inspect(&["-"], &altered));
    assert!(code == 1 && text.contains("no, it is damaged"), "{text}");
    assert!(error.contains("record ") && error.contains("at byte ") && error.contains("fletcher-4"), "{error}");

    let (code, text, _) = self::told(&inspect(&["-"], &stream[..stream.len() - 400]));
    assert!(code == 1 && text.contains("no, it is cut off") && text.contains("resume by   1-"), "{text}");
}

#[test]
fn what_is_no_stream_exits_with_2() {
    for none in [&b""[..], b"x", b"#!/bin/sh\necho hello\n", INCREMENT, &[0; 5000]] {
        let (code, data, error) = told(&inspect(&["-"], none));
        assert!(code == 2 && data.is_empty() && error.contains("is no stream"), "{code}: {error}");
    }
    let (code, _, error) = told(&inspect(&["/nowhere"], &[]));
    assert!(code == 2 && error.contains("/nowhere"), "{error}");
}
