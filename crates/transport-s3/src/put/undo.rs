//! How a put that failed is taken back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::item::SnapshotPart;
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use reseed_core::undo::by_name;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::{Manifest, chunks_of, manifest_key};
use crate::repository::RepositoryResource;
use crate::store::{Key, Store};

/// A repository and its name in the pipeline file, by which a record tells it.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) name: String,
    pub(super) store: Arc<dyn Store>,
}

impl Serialize for Repository {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Repository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let resource = by_name::resource::<RepositoryResource, D::Error>("repositories", &name)?;
        Ok(Self { name, store: Arc::clone(&resource.0) })
    }
}

/// Deletes the chunks of a run, unless its manifest is there after all: the answer to its writing may
/// have been lost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeleteChunks {
    repository: Repository,
    run: String,
    manifest: Option<Key>,
}

impl DeleteChunks {
    pub(super) fn new(
        repository: Repository,
        run: &str,
        root: &str,
        manifest: &Manifest,
        parts: &[SnapshotPart],
    ) -> Self {
        let main = parts.iter().find(|part| part.main);
        let key = main.and_then(|main| manifest_key(&main.dataset, root, manifest.depth).ok());
        Self { repository, run: run.to_owned(), manifest: key }
    }

    /// Whether the run's manifest is there. What can't be read is not for this to judge: then the chunks
    /// stay.
    async fn is_complete(&self) -> Result<bool> {
        let Some(key) = &self.manifest else { return Ok(false) };
        match self.repository.store.get(key).await? {
            Some(bytes) => Ok(Manifest::read(key, &bytes)?.run == self.run),
            None => Ok(false),
        }
    }
}

register_undo!("staged-delete-chunks", DeleteChunks);

#[async_trait]
impl Undo for DeleteChunks {
    fn describe(&self) -> String {
        format!("delete {} in {}", chunks_of(&self.run), self.repository.store.url())
    }

    fn by_hand(&self) -> String {
        format!(
            "delete every object below {}/{}",
            self.repository.store.url().trim_end_matches('/'),
            chunks_of(&self.run)
        )
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn undo(&self) -> Result<()> {
        if self.is_complete().await? {
            return Ok(());
        }
        for object in self.repository.store.list(&chunks_of(&self.run)).await? {
            self.repository.store.delete(&object.key).await?;
        }
        Ok(())
    }
}
