//! A store on top of another one.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Result;

use super::{Key, Object, Sha256, Store};

/// Another store with something about it changed: what is not changed is that store's own. Each method is the one
/// of [`Store`], with its contract.
#[async_trait]
#[expect(missing_docs, reason = "each is described where the store is")]
pub trait Over: Debug + Send + Sync {
    /// The other one.
    fn inner(&self) -> &dyn Store;

    fn url(&self) -> String {
        self.inner().url()
    }

    fn weakness(&self) -> Option<&'static str> {
        self.inner().weakness()
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        self.inner().put(key, bytes, sha256).await
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        self.inner().put_new(key, bytes, sha256).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.inner().get(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner().delete(key).await
    }

    async fn settled(&self) {
        self.inner().settled().await;
    }
}

#[async_trait]
impl<O: Over> Store for O {
    fn url(&self) -> String {
        Over::url(self)
    }

    fn weakness(&self) -> Option<&'static str> {
        Over::weakness(self)
    }

    async fn judge(&self) -> Result<()> {
        self.inner().judge().await
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        Over::put(self, key, bytes, sha256).await
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        Over::put_new(self, key, bytes, sha256).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        Over::get(self, key).await
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        self.inner().size(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.inner().list(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        Over::delete(self, key).await
    }

    async fn settled(&self) {
        Over::settled(self).await;
    }
}
