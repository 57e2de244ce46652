use std::path::{Path, PathBuf};

use super::*;
use crate::chain::{chains, publish, trusted_chains};
use crate::chunks::{Keeping, write};
use crate::seal::{Signer, Trust};
use crate::store::FileStore;
use crate::testing::{self, once};

fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(FileStore::new(directory))
}

/// A full and two increments.
async fn three(store: &Arc<dyn Store>) {
    let mut parent = None;
    for depth in 0..3 {
        parent = Some(testing::put(store, "run0", depth, parent, 1).await.unwrap().as_parent());
    }
}

async fn judged(store: &Arc<dyn Store>, depth: Depth) -> Verdict {
    let chains = chains(store.as_ref()).await.unwrap();
    assert_eq!(chains.len(), 1);
    verify(store, &chains[0], depth).await.unwrap()
}

fn manifest(depth: u32) -> String {
    format!("manifests/tank_2Fpg/run0/{depth:06}.json")
}

#[tokio::test]
async fn a_whole_chain_can_be_restored_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    three(&store).await;
    for depth in [Depth::Shallow, Depth::Deep] {
        let verdict = judged(&store, depth).await;
        assert_eq!((verdict.restorable, verdict.broken, verdict.chunks), (Some(manifest(2)), vec![], 9));
    }
}

#[tokio::test]
async fn of_two_runs_that_add_to_one_chain_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let full = testing::put(&store, "run0", 0, None, 1).await.unwrap();
    testing::put(&store, "run0", 1, Some(full.as_parent()), 1).await.unwrap();
    let error = {
        let other = chains(store.as_ref()).await.unwrap().remove(0).links.remove(1);
        let manifest = Manifest { created: 2, ..other.manifest };
        publish(store.as_ref(), "run0", &manifest).await.unwrap_err()
    };
    assert!(error.chain().contains("another run has written"), "{}", error.chain());
    assert!(error.hint_text().is_some());
    assert_eq!(judged(&store, Depth::Deep).await.restorable, Some(manifest(1)));
}

/// What happens to the repository, the object that is named, and the newest that can be restored.
type Case = (fn(&Path), String, Option<String>, bool);

#[tokio::test]
async fn whatever_happens_to_an_object_it_is_named_with_what_can_still_be_restored() {
    let chunk = |depth: u32, at: u32| {
        let run = if depth == 0 { "run0".to_owned() } else { format!("run0.{depth}") };
        format!("chunks/{run}/000/{at:08}-")
    };
    let cases: Vec<Case> = vec![
        (|root| remove(root, "chunks/run0.1/000/00000001-"), chunk(1, 1), Some(manifest(0)), true),
        (|root| cut(root, "chunks/run0.2/000/00000002-"), chunk(2, 2), Some(manifest(1)), true),
        (|root| flip(root, "chunks/run0/000/00000000-"), chunk(0, 0), None, false),
        (
            |root| swap(root, "chunks/run0.1/000/00000000-", "chunks/run0.1/000/00000001-"),
            chunk(1, 0),
            Some(manifest(0)),
            false,
        ),
        (|root| remove(root, "manifests/tank_2Fpg/run0/000001.json"), manifest(1), Some(manifest(0)), true),
        (|root| remove(root, "manifests/tank_2Fpg/run0/000000.json"), manifest(0), None, true),
        (|root| flip(root, "manifests/tank_2Fpg/run0/000001.json"), manifest(1), Some(manifest(0)), true),
        (|root| edit(root, "manifests/tank_2Fpg/run0/000001.json"), manifest(2), Some(manifest(1)), true),
        // Another manifest's chunk of the same place, and of another length.
        (
            |root| swap(root, "chunks/run0.1/000/00000000-", "chunks/run0.2/000/00000000-"),
            chunk(1, 0),
            Some(manifest(0)),
            true,
        ),
        // A chain can't be made shorter in its midst, nor can what is newest be told from what was removed.
        (|root| remove(root, "manifests/tank_2Fpg/run0/000002.json"), String::new(), Some(manifest(1)), false),
        (
            |root| swap(root, "manifests/tank_2Fpg/run0/000001.json", "manifests/tank_2Fpg/run0/000002.json"),
            manifest(1),
            Some(manifest(0)),
            true,
        ),
    ];
    for (number, (harm, object, restorable, seen_shallow)) in cases.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        three(&store).await;
        harm(directory.path());
        let deep = judged(&store, Depth::Deep).await;
        assert_eq!(deep.restorable, restorable, "{number}");
        if object.is_empty() {
            assert_eq!(deep.broken, vec![], "{number}: nothing that is there is wrong");
            continue;
        }
        assert!(deep.broken[0].object.starts_with(&object), "{number}: {deep:?}");
        let shallow = judged(&store, Depth::Shallow).await;
        assert_eq!(
            shallow.broken.iter().any(|broken| broken.object.starts_with(&object)),
            seen_shallow,
            "{number}: {shallow:?}"
        );
    }
}

/// The path of an object, by its name or by what that begins with.
fn path(root: &Path, object: &str) -> PathBuf {
    let (above, name) = object.rsplit_once('/').unwrap();
    let begins = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(name);
    let mut found = std::fs::read_dir(root.join(above)).unwrap().map(Result::unwrap).filter(begins);
    found.next().unwrap().path()
}

/// A full and two increments, each signed with the key of this number.
async fn signed(store: &Arc<dyn Store>, keys: [u8; 3]) {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let mut parent = None;
    for (depth, key) in (0..).zip(keys) {
        let pem = ed25519_dalek::SigningKey::from_bytes(&[key; 32]).to_pkcs8_pem(Default::default()).unwrap();
        let signer = Signer::parse(&pem).unwrap();
        let run = format!("run{depth}");
        let written = write(&Keeping::new(store, &run), 0, once(vec![depth as u8; 250]), &testing::how()).await;
        let written = written.unwrap();
        let stream = testing::stream(depth, written.chunks, written.sha256);
        let manifest = testing::manifest(&run, depth, parent, stream).signed(Some(&signer)).unwrap();
        parent = Some(publish(store.as_ref(), "run0", &manifest).await.unwrap().as_parent());
    }
}

#[tokio::test]
async fn a_manifest_of_another_key_ends_the_chain_before_it() {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let pem = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).to_pkcs8_pem(Default::default()).unwrap();
    let trust = Trust::default().and(Some(&Signer::parse(&pem).unwrap()));
    for (keys, broken, restorable) in [
        ([1, 1, 1], None, Some(2)),
        ([1, 2, 1], Some(1), Some(0)),
        ([1, 1, 2], Some(2), Some(1)),
        ([2, 1, 1], Some(0), None),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        signed(&store, keys).await;
        let chains = trusted_chains(store.as_ref(), &trust).await.unwrap();
        for depth in [Depth::Shallow, Depth::Deep] {
            let verdict = verify(&store, &chains[0], depth).await.unwrap();
            let named: Vec<_> = verdict.broken.iter().map(|broken| broken.object.clone()).collect();
            assert_eq!(named, broken.map(manifest).into_iter().collect::<Vec<_>>(), "{keys:?}");
            assert_eq!(verdict.restorable, restorable.map(manifest), "{keys:?}");
        }
    }
}

fn remove(root: &Path, object: &str) {
    std::fs::remove_file(path(root, object)).unwrap();
}

fn change(root: &Path, object: &str, how: impl FnOnce(&mut Vec<u8>)) {
    let path = path(root, object);
    let mut bytes = std::fs::read(&path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn cut(root: &Path, object: &str) {
    change(root, object, |bytes| bytes.truncate(bytes.len() - 1));
}

fn flip(root: &Path, object: &str) {
    change(root, object, |bytes| bytes[5] ^= 1);
}

/// A change that leaves a manifest that is right in itself.
fn edit(root: &Path, object: &str) {
    change(root, object, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains("\"created\": 1,"));
        *bytes = text.replace("\"created\": 1,", "\"created\": 2,").into_bytes();
    });
}

fn swap(root: &Path, one: &str, other: &str) {
    let (aside, one, other) = (root.join("aside"), path(root, one), path(root, other));
    std::fs::rename(&one, &aside).unwrap();
    std::fs::rename(&other, &one).unwrap();
    std::fs::rename(aside, other).unwrap();
}
