use super::*;
use crate::chain::publish;
use crate::format::{Chunk, chunk_key, chunk_stem};
use crate::store::FileStore;
use crate::testing::{self, names};

fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::new(directory.path()));
    (directory, store)
}

/// A full of one stream with these chunks.
fn manifest(format: &str, run: &str, chunks: Vec<Chunk>) -> Manifest {
    let stream = testing::stream(0, chunks, Sha256::of(b""));
    Manifest { format: format.into(), ..testing::manifest(run, 0, None, stream) }
}

/// An upload of a run, ready, with one chunk.
async fn begun(store: &Arc<dyn Store>, run: &str) -> (Upload, Chunk) {
    let mut upload = Upload::begin(store, run, "tank/pg", None).await.unwrap();
    upload.ready(&manifest(FORMAT, run, vec![])).await.unwrap();
    let sha256 = Sha256::of(b"x");
    let key = chunk_key(&chunk_stem(run, 0, 0, &sha256)).unwrap();
    store.put(&key, Bytes::from_static(b"x"), sha256).await.unwrap();
    (upload, Chunk { object: key.as_str().into(), stored: 1, sha256, frame: None, size: 1, place: None })
}

async fn found_one(store: &Arc<dyn Store>) -> Found {
    let mut all = uploads(store.as_ref()).await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// As if the process that wrote it had been killed.
async fn kill(directory: &tempfile::TempDir, store: &Arc<dyn Store>) {
    for (number, record) in found_one(store).await.records {
        let record = record.unwrap();
        let key = record_key(&record.upload, number).unwrap();
        let owner = Owner { pid: u32::MAX, ..record.owner.clone() };
        let text = serde_json::to_vec(&Record { owner, ..record }).unwrap();
        std::fs::write(directory.path().join(key.as_str()), text).unwrap();
    }
}

#[tokio::test]
async fn a_run_that_was_killed_is_gone_on_with_by_one_other() {
    let (directory, store) = store();
    let (_, chunk) = begun(&store, "one").await;
    assert!(!found_one(&store).await.is_idle(), "its process is there");
    kill(&directory, &store).await;
    let found = found_one(&store).await;
    assert!(found.is_idle());
    let draft = found.draft(&Trust::default()).cloned().unwrap();
    let (two, three) =
        (Upload::take(&store, &found, "two").await.unwrap(), Upload::take(&store, &found, "three").await);
    assert!(three.unwrap().is_none(), "of two that go on with it one wins");
    let mut two = two.unwrap();
    assert!(!found_one(&store).await.is_idle());
    two.close().await.unwrap();
    publish(store.as_ref(), "two", &manifest(format::FORMAT, "two", vec![chunk])).await.unwrap();
    assert_eq!(draft.run, "one");
    two.forget().await.unwrap();
    assert_eq!(names(&store).await.len(), 2, "the chunk and the manifest");
}

#[tokio::test]
async fn who_was_overtaken_neither_ends_it_nor_removes_it() {
    let (directory, store) = store();
    let (mut one, _) = begun(&store, "one").await;
    kill(&directory, &store).await;
    let found = found_one(&store).await;
    Upload::take(&store, &found, "two").await.unwrap().unwrap();
    let before = names(&store).await;
    let error = one.close().await.unwrap_err();
    assert!(error.chain().contains("another run has gone on"), "{}", error.chain());
    abandon(&store, "one", "one").await.unwrap();
    leave(&store, "one", "one").await.unwrap();
    assert!(!sweep(&store, &found_one(&store).await, "three").await.unwrap(), "somebody works on it");
    assert_eq!(names(&store).await, before);
}

#[tokio::test]
async fn what_is_abandoned_is_gone_and_what_a_manifest_names_is_not() {
    let (_directory, store) = store();
    let (_, chunk) = begun(&store, "one").await;
    let foreign = Key::new("chunks/of-mine/notes").unwrap();
    store.put(&foreign, Bytes::new(), Sha256::of(b"")).await.unwrap();
    for _ in 0..2 {
        abandon(&store, "one", "one").await.unwrap();
        assert_eq!(names(&store).await, [foreign.as_str()]);
    }
    let (mut one, _) = begun(&store, "one").await;
    one.close().await.unwrap();
    publish(store.as_ref(), "one", &manifest(format::FORMAT, "one", vec![chunk.clone()])).await.unwrap();
    // Whoever fails after that, the answer having been lost.
    abandon(&store, "one", "one").await.unwrap();
    let left = names(&store).await;
    assert!(left.contains(&chunk.object) && left.len() == 3, "{left:?}");
}

#[tokio::test]
async fn a_manifest_that_can_not_be_read_may_name_any_chunk() {
    let (directory, store) = store();
    let (_, chunk) = begun(&store, "one").await;
    let path = directory.path().join("manifests/tank_2Fpg/x");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("000000.json"), "{").unwrap();
    abandon(&store, "one", "one").await.unwrap();
    assert!(names(&store).await.contains(&chunk.object));
}

#[tokio::test]
async fn what_a_run_leaves_is_gone_on_with_or_swept() {
    let (_directory, store) = store();
    begun(&store, "one").await;
    leave(&store, "one", "one").await.unwrap();
    leave(&store, "one", "one").await.unwrap();
    let found = found_one(&store).await;
    assert!(found.is_idle() && found.draft(&Trust::default()).is_some());
    assert!(sweep(&store, &found, "two").await.unwrap());
    assert_eq!(names(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_draft_is_signed_or_nobody_goes_on_with_it() {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let pem = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]).to_pkcs8_pem(Default::default()).unwrap();
    let signer = |byte| crate::seal::Signer::parse(&pem(byte)).unwrap();
    let (_directory, store) = store();
    let mut upload = Upload::begin(&store, "one", "tank/pg", None).await.unwrap();
    let draft = manifest(FORMAT, "one", vec![]).signed(Some(&signer(1))).unwrap();
    upload.ready(&draft).await.unwrap();
    let found = found_one(&store).await;
    assert_eq!(found.draft(&Trust::default().and(Some(&signer(1)))), Some(&draft));
    assert_eq!(found.draft(&Trust::default().and(Some(&signer(2)))), None);
    // Nor is it a manifest, signed as it is.
    let key = Key::new("manifests/tank_2Fpg/one/000000.json").unwrap();
    assert!(Manifest::read(&key, &draft.to_bytes().unwrap()).is_err());
}
