//! Counts what is read from a store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Result;
use reseed_core::stream::Meter;

use super::{Key, Over, Store};

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
impl Over for Counted {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let found = self.store.get(key).await?;
        self.read.add(found.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(found)
    }
}
