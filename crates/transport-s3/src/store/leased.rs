//! Exclusive writing on servers that heed no condition of a write.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::{Error, Result};

use super::{Key, Over, Sha256, Store};
use crate::uploads::now;

/// Where leases are.
const LEASES: &str = "lease/";
/// A lease of a writer that was killed counts no more after this.
const STALE: Duration = Duration::from_secs(900);

/// A store in which a lease guards each write that must be the only one of its name.
///
/// A writer writes a lease of its own for the name, lists all leases for it, and goes on only if it sees no
/// other. Of two at once neither or one goes on, never both, as long as a listing has what was written before
/// it: each would have to list before the other wrote. What makes this weaker than a conditional write is
/// that, and that leases of killed writers run out by the clock.
#[derive(Debug)]
pub struct Leased(Arc<dyn Store>);

impl Leased {
    /// The same store, guarded.
    pub fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self(store))
    }

    async fn alone(&self, leases: &str, mine: &Key) -> Result<bool> {
        for object in self.0.list(leases).await?.into_iter().filter(|object| object.key != *mine) {
            let Some(bytes) = self.0.get(&object.key).await? else { continue };
            let at = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<u64>().ok());
            if at.is_none_or(|at| now().saturating_sub(at) <= STALE.as_secs()) {
                return Ok(false);
            }
            self.0.delete(&object.key).await?;
        }
        Ok(true)
    }

    async fn guarded(&self, leases: &str, mine: &Key, object: (&Key, Bytes, Sha256)) -> Result<bool> {
        let begun = Instant::now();
        let lease = Bytes::from(now().to_string());
        self.0.put(mine, lease.clone(), Sha256::of(&lease)).await?;
        let (key, bytes, sha256) = object;
        if !self.alone(leases, mine).await? || self.0.size(key).await?.is_some() {
            return Ok(false);
        }
        if begun.elapsed() > STALE / 3 {
            let error = Error::failed(format!("{} answered too slowly to write {key} alone", self.0.url()));
            return Err(error.hint("run it again"));
        }
        self.0.put(key, bytes, sha256).await.map(|()| true)
    }
}

#[async_trait]
impl Over for Leased {
    fn inner(&self) -> &dyn Store {
        self.0.as_ref()
    }

    fn weakness(&self) -> Option<&'static str> {
        Some("leases guard against two runs at once, as the server knows no conditional writes: that is weaker")
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        if self.0.size(key).await?.is_some() {
            return Ok(false);
        }
        let mut leases = LEASES.to_owned();
        let name = Sha256::of(key.as_str().as_bytes()).to_string();
        let _ = write!(leases, "{name}/");
        let mine = Key::new(format!("{leases}{:016x}", RandomState::new().hash_one(std::process::id())))?;
        let written = self.guarded(&leases, &mine, (key, bytes, sha256)).await;
        let removed = self.0.delete(&mine).await;
        let written = written?;
        removed.map(|()| written)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Barrier;

    use super::*;
    use crate::store::{FileStore, probe};

    /// Heeds no condition, and lets writers of leases meet before any of them lists.
    #[derive(Debug)]
    struct Careless(FileStore, Option<Barrier>);

    #[async_trait]
    impl Over for Careless {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        fn url(&self) -> String {
            "s3://careless".to_owned()
        }

        async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
            self.0.put(key, bytes, sha256).await?;
            if let Some(barrier) = self.1.as_ref().filter(|_| key.as_str().starts_with(LEASES)) {
                barrier.wait().await;
            }
            Ok(())
        }

        async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
            self.0.put(key, bytes, sha256).await.map(|()| true)
        }
    }

    async fn put_new(store: &dyn Store, text: &'static str) -> bool {
        let bytes = Bytes::from_static(text.as_bytes());
        store.put_new(&Key::new("a").unwrap(), bytes.clone(), Sha256::of(&bytes)).await.unwrap()
    }

    #[tokio::test]
    async fn a_careless_server_is_good_enough_with_leases_and_keeps_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Leased::over(Arc::new(Careless(FileStore::new(directory.path()), None)));
        probe(store.as_ref()).await.unwrap();
        assert!(put_new(store.as_ref(), "one").await);
        assert!(!put_new(store.as_ref(), "two").await);
        assert_eq!(store.get(&Key::new("a").unwrap()).await.unwrap().unwrap(), "one");
        assert_eq!(store.list("").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_two_at_the_very_same_time_never_both_write() {
        let directory = tempfile::tempdir().unwrap();
        let careless = Careless(FileStore::new(directory.path()), Some(Barrier::new(2)));
        let store = Leased::over(Arc::new(careless));
        let (one, two) = tokio::join!(put_new(store.as_ref(), "one"), put_new(store.as_ref(), "two"));
        assert!(!(one && two));
        assert_eq!(store.list(LEASES).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_lease_of_a_killed_writer_runs_out() {
        let directory = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Store> = Arc::new(FileStore::new(directory.path()));
        let store = Leased::over(Arc::clone(&inner));
        let lease = Key::new(format!("{LEASES}{}/killed", Sha256::of(b"a"))).unwrap();
        for (at, free) in [(now(), false), (now() - STALE.as_secs() - 1, true)] {
            let bytes = Bytes::from(at.to_string());
            inner.put(&lease, bytes.clone(), Sha256::of(&bytes)).await.unwrap();
            assert_eq!(put_new(store.as_ref(), "one").await, free);
        }
        assert_eq!(inner.list(LEASES).await.unwrap(), []);
    }
}
