//! Proves that a store can do what staging asks of it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use reseed_core::{Error, Result};

use super::{Key, Sha256, Store};

/// How long what a failed check may have left is tried to be deleted: what failed may be all of the store.
const TIDY: Duration = Duration::from_secs(10);

/// Asks whether the store can do what its settings say; then writes, reads, lists and deletes one small object
/// of its own, and sees that a second one of its name is refused. Whatever comes of it, the object is gone
/// afterwards. What is not proven, since staging has no use for it: parts of an object, reads by range.
///
/// # Errors
/// A refusal that says what the store can't do.
pub async fn probe(store: &dyn Store) -> Result<()> {
    let random = RandomState::new().hash_one(std::process::id());
    let key = Key::new(format!("probe/reseed-{random:016x}"))?;
    store.judge().await.map_err(Error::into_refusal)?;
    if let Err(error) = steps(store, &key).await {
        let _ = tokio::time::timeout(TIDY, store.delete(&key)).await;
        return Err(error.into_refusal());
    }
    let cleaned = store.delete(&key).await;
    cleaned.map_err(|error| {
        let context = format!("the object {key} of a check is left in {}", store.url());
        error.into_refusal().context(context)
    })?;
    match store.size(&key).await.map_err(Error::into_refusal)? {
        None => Ok(()),
        Some(_) => Err(lacks(store, "says that it has deleted an object, and has it still")),
    }
}

async fn steps(store: &dyn Store, key: &Key) -> Result<()> {
    let bytes = |text: &str| Bytes::from(format!("{text} of {key}"));
    let (first, second, third) = (bytes("first"), bytes("second"), bytes("third"));
    if !store.put_new(key, first.clone(), Sha256::of(&first)).await? {
        // The answer to a write that was repeated may have been lost: it counts when it is ours.
        is(store, key, &first).await?;
    }
    if store.put_new(key, second.clone(), Sha256::of(&second)).await? {
        let error = lacks(store, "does not refuse a second object of one name (`If-None-Match: *`)");
        return Err(
            error.hint("say so in the repository, `conditional_writes = false`: leases guard then, which is weaker")
        );
    }
    is(store, key, &first).await?;
    store.put(key, third.clone(), Sha256::of(&third)).await?;
    is(store, key, &third).await?;
    let listed = store.list(key.as_str()).await?;
    match listed.iter().any(|object| object.key == *key && object.size == third.len() as u64) {
        true => Ok(()),
        false => Err(lacks(store, "does not list an object that was just written")),
    }
}

async fn is(store: &dyn Store, key: &Key, wanted: &Bytes) -> Result<()> {
    match store.get(key).await? {
        Some(found) if found == *wanted => Ok(()),
        _ => Err(lacks(store, "gives back something else than was just written")),
    }
}

fn lacks(store: &dyn Store, what: &str) -> Error {
    let error = Error::refused(format!("{} {what}", store.url()));
    error.hint("keep the repository on a server that does, or in a directory: `url = \"file:///path\"`")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use reseed_core::Class;

    use super::*;
    use crate::store::{FileStore, Over};

    #[tokio::test]
    async fn a_good_store_passes_and_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path());
        probe(&store).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_store_that_can_not_be_used_is_refused() {
        let error = probe(&FileStore::new("/nowhere")).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        assert!(error.hint_text().is_some());
    }

    /// As servers that don't know conditional writes: they heed no condition.
    #[derive(Debug)]
    struct Careless(FileStore);

    #[async_trait]
    impl Over for Careless {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        fn url(&self) -> String {
            "s3://careless".to_owned()
        }

        async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
            self.0.put(key, bytes, sha256).await.map(|()| true)
        }
    }

    #[tokio::test]
    async fn a_store_that_heeds_no_condition_is_refused_and_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Careless(FileStore::new(directory.path()));
        let error = probe(&store).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        assert!(error.chain().contains("If-None-Match"), "{}", error.chain());
        assert_eq!(store.list("").await.unwrap(), []);
    }
}
