use serde_json::Value;

use super::*;

fn manifest() -> Manifest {
    let chunk = |name: &str, size| Chunk {
        object: name.into(),
        stored: 3,
        sha256: Sha256::of(b"abc"),
        frame: None,
        size,
        place: None,
    };
    Manifest {
        format: FORMAT.into(),
        version: VERSION,
        signature: None,
        run: "20260101t000000-abcdef".into(),
        created: 1_767_225_600,
        parent: None,
        depth: 0,
        storage: "zfs".into(),
        streams: vec![Stream {
            dataset: "tank/pg".into(),
            mountpoint: "/pg".into(),
            snapshot: "reseed-1".into(),
            guid: "ff".into(),
            from_guid: None,
            between: vec![],
            made: None,
            main: true,
            encodings: vec![],
            recipients: vec![],
            size: 7,
            sha256: Sha256::of(b"plain"),
            head: None,
            chunks: vec![chunk("chunks/a/000/00000000.zst", 4), chunk("chunks/a/000/00000001.zst", 3)],
        }],
        left_out: vec![LeftOut { dataset: "tank/pg/wal".into(), mountpoint: "/pg/wal".into() }],
        files: vec![FileBeside {
            name: "000000010000000000000002".into(),
            size: 4,
            sha256: Sha256::of(b"file"),
            recipients: vec![],
            chunks: vec![chunk("chunks/a/001/00000000.zst", 4)],
        }],
        facts: Facts::default(),
    }
}

fn key() -> Key {
    manifest_key("tank/pg", "20260101t000000-abcdef", 0).unwrap()
}

#[test]
fn what_was_written_is_read_again_byte_for_byte() {
    let bytes = manifest().to_bytes().unwrap();
    let read = Manifest::read(&key(), &bytes).unwrap();
    assert_eq!(read, manifest());
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

#[test]
fn what_is_not_right_is_told_by_its_name() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(manifest()).unwrap();
        change(&mut value);
        Manifest::read(&key(), &serde_json::to_vec(&value).unwrap()).unwrap_err().chain()
    };
    let newer = refused(&|value| value["version"] = 2.into());
    assert!(newer.contains("has version 2, and this program reads version 1"), "{newer}");
    assert!(refused(&|value| value["format"] = "x".into()).contains("is no object of a staged repository"));
    for change in [
        &|value: &mut Value| value["unknown"] = 1.into(),
        &|value| value["depth"] = 1.into(),
        &|value| value["streams"][0]["size"] = 8.into(),
        &|value| value["streams"][0]["main"] = false.into(),
        &|value| value["streams"][0]["from_guid"] = "aa".into(),
        &|value| value["files"][0]["name"] = "../pg_hba.conf".into(),
        &|value| value["files"][0]["name"] = "a\nb".into(),
        &|value| value["streams"][0]["dataset"] = "tank/..".into(),
        &|value| value["streams"][0]["dataset"] = "-r".into(),
        &|value| value["streams"][0]["dataset"] = "tank/pg\0".into(),
        &|value| value["streams"][0]["dataset"] = "x".repeat(5000).into(),
        &|value| value["streams"][0]["snapshot"] = "../../etc".into(),
        &|value| value["streams"][0]["snapshot"] = "".into(),
        &|value| value["streams"][0]["guid"] = "a\u{1b}[2J".into(),
        &|value| value["streams"][0]["mountpoint"] = "/pg/../etc".into(),
        &|value| value["streams"][0]["mountpoint"] = "../pg".into(),
        &|value| value["left_out"][0]["dataset"] = "a/../b".into(),
        &|value| value["run"] = "../x".into(),
        &|value| value["files"][0]["size"] = 5.into(),
        &|value| value["streams"][0]["sha256"] = "00".into(),
        &|value| value["streams"][0]["chunks"][0]["object"] = "../etc/passwd".into(),
        &|value| value["streams"][0]["chunks"][0]["frame"] = "00".repeat(32).into(),
        &|value| value["streams"][0]["recipients"] = vec!["age1x"].into(),
    ] as [&dyn Fn(&mut Value); 23]
    {
        let told = refused(change);
        assert!(told.contains(key().as_str()) && told.contains("was altered"), "{told}");
    }
}

#[test]
fn names_of_objects_are_safe_and_never_meet() {
    assert_eq!(key().as_str(), "manifests/tank_2Fpg/20260101t000000-abcdef/000000.json");
    assert_eq!(position(&key()), Some(("tank_2Fpg/20260101t000000-abcdef".into(), 0)));
    assert_ne!(safe("a/b"), safe("a_2Fb"));
    assert_eq!(safe("../x"), "_2E._2Fx");
    for odd in ["manifests/a/b/1.json", "chunks/a/000/00000000.zst", "manifests/a/b/00000x.json"] {
        assert_eq!(position(&Key::new(odd).unwrap()), None, "{odd}");
    }
}

#[test]
fn only_what_reseed_names_so_is_a_chunk_or_a_record() {
    let (frame, object) = (Sha256::of(b"frame"), Sha256::of(b"object"));
    let stem = chunk_stem("20260101t000000-abcdef", 1, 2, &frame);
    assert_eq!(stem, format!("chunks/20260101t000000-abcdef/001/00000002-{frame}"));
    let name = |object| ChunkName { upload: "20260101t000000-abcdef".into(), stem: stem.clone(), object };
    assert_eq!(ChunkName::read(&chunk_key(&stem).unwrap()), Some(name(None)));
    assert_eq!(ChunkName::read(&encrypted(&stem, &object).unwrap()), Some(name(Some(object))));
    for odd in ["chunks/a/000/00000000.zst", "chunks/a/notes", "chunks/a/b/c/d.zst", "other/a/000/00000000.zst"] {
        assert_eq!(ChunkName::read(&Key::new(odd).unwrap()), None, "{odd}");
    }
    assert_eq!(record_position(&record_key("a_b", 7).unwrap()), Some(("a_5Fb".into(), 7)));
    assert_eq!(record_position(&Key::new("uploads/a/0001.json").unwrap()), None);
}
