//! How a put that failed is taken back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::item::SnapshotPart;
use reseed_core::undo::Undo;

use crate::format::{Manifest, chunks_of, manifest_key};
use crate::store::{Key, Store};

/// Deletes the chunks of a run, unless its manifest is there after all: the answer to its writing may
/// have been lost.
#[derive(Debug)]
pub(super) struct DeleteChunks {
    store: Arc<dyn Store>,
    run: String,
    manifest: Option<Key>,
}

impl DeleteChunks {
    pub(super) fn new(
        store: &Arc<dyn Store>,
        run: &str,
        root: &str,
        manifest: &Manifest,
        parts: &[SnapshotPart],
    ) -> Self {
        let main = parts.iter().find(|part| part.main);
        let key = main.and_then(|main| manifest_key(&main.dataset, root, manifest.depth).ok());
        Self { store: Arc::clone(store), run: run.to_owned(), manifest: key }
    }

    /// Whether the run's manifest is there. What can't be read is not for this to judge: then the chunks
    /// stay.
    async fn is_complete(&self) -> Result<bool> {
        let Some(key) = &self.manifest else { return Ok(false) };
        match self.store.get(key).await? {
            Some(bytes) => Ok(Manifest::read(key, &bytes)?.run == self.run),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Undo for DeleteChunks {
    fn describe(&self) -> String {
        format!("delete {} in {}", chunks_of(&self.run), self.store.url())
    }

    fn by_hand(&self) -> String {
        format!("delete every object below {}/{}", self.store.url().trim_end_matches('/'), chunks_of(&self.run))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn undo(&self) -> Result<()> {
        if self.is_complete().await? {
            return Ok(());
        }
        for object in self.store.list(&chunks_of(&self.run)).await? {
            self.store.delete(&object.key).await?;
        }
        Ok(())
    }
}
