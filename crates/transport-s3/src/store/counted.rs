//! Counts what is read from a store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Result;
use reseed_core::stream::Meter;

use super::{Key, Object, Sha256, Store};

/// A store whose objects are counted as they are read.
#[derive(Debug)]
pub struct Counted {
    store: Arc<dyn Store>,
    read: Arc<Meter>,
}

impl Counted {
    /// The same store; `read` counts the bytes of objects that come from it.
    pub fn reads(store: &Arc<dyn Store>, read: &Arc<Meter>) -> Arc<dyn Store> {
        Arc::new(Self { store: Arc::clone(store), read: Arc::clone(read) })
    }
}

#[async_trait]
impl Store for Counted {
    fn url(&self) -> String {
        self.store.url()
    }

    async fn judge(&self) -> Result<()> {
        self.store.judge().await
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        self.store.put(key, bytes, sha256).await
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        self.store.put_new(key, bytes, sha256).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let found = self.store.get(key).await?;
        self.read.add(found.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(found)
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        self.store.size(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.store.list(prefix).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.store.delete(key).await
    }

    async fn settled(&self) {
        self.store.settled().await;
    }
}
