//! How a put that failed is taken back, and what is done after one that did not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::undo::{Chore, Undo, by_name};
use reseed_core::{Result, register_chore, register_undo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::{chunks_of, records_of};
use crate::prune::{Policy, Prune};
use crate::repository::RepositoryResource;
use crate::seal::Seal;
use crate::store::Store;
use crate::uploads::{abandon, leave, sweep, uploads};

/// A repository and its name in the pipeline file, by which a record tells it.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) name: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) seal: Arc<Seal>,
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
        Ok(Self { name, store: Arc::clone(&resource.0), seal: Arc::clone(&resource.1) })
    }
}

/// Removes what a run has put, unless its manifest is there after all.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Abandon {
    pub(super) repository: Repository,
    pub(super) run: String,
}

register_undo!("staged-abandon", Abandon);

#[async_trait]
impl Undo for Abandon {
    fn describe(&self) -> String {
        format!("delete {} in {}", chunks_of(&self.run), self.repository.store.url())
    }

    fn by_hand(&self) -> String {
        let url = self.repository.store.url();
        let url = url.trim_end_matches('/');
        format!("delete every object below {url}/{} and {url}/{}", chunks_of(&self.run), records_of(&self.run))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn undo(&self) -> Result<()> {
        abandon(&self.repository.store, &self.run, &self.run).await
    }
}

/// Leaves what was put for the next run, which goes on with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Leave {
    pub(super) repository: Repository,
    pub(super) upload: String,
    pub(super) run: String,
}

register_undo!("staged-leave", Leave);

#[async_trait]
impl Undo for Leave {
    fn describe(&self) -> String {
        format!("leave {} in {} to the next run", chunks_of(&self.upload), self.repository.store.url())
    }

    fn by_hand(&self) -> String {
        "run it again: it goes on where this run has stopped".to_owned()
    }

    async fn undo(&self) -> Result<()> {
        leave(&self.repository.store, &self.upload, &self.run).await
    }
}

/// Removes uploads of a dataset that nobody can go on with any more: the chain has gone on without them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sweep {
    pub(super) repository: Repository,
    pub(super) dataset: String,
    pub(super) run: String,
}

register_chore!("staged-sweep", Sweep);

#[async_trait]
impl Chore for Sweep {
    fn describe(&self) -> String {
        format!("remove interrupted uploads of {} in {}", self.dataset, self.repository.store.url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let mut removed = 0usize;
        for found in uploads(self.repository.store.as_ref()).await? {
            let mine = found.newest().is_some_and(|newest| newest.dataset == self.dataset);
            removed += usize::from(mine && sweep(&self.repository.store, &found, &self.run).await?);
        }
        Ok((removed > 0).then(|| format!("removed {removed} interrupted uploads in {}", self.repository.store.url())))
    }
}

/// Marks what is not kept, and removes what was marked long enough ago.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PruneRepository {
    pub(super) repository: Repository,
    pub(super) policy: Policy,
    pub(super) run: String,
}

register_chore!("staged-prune", PruneRepository);

#[async_trait]
impl Chore for PruneRepository {
    fn describe(&self) -> String {
        format!("prune {}", self.repository.store.url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let prune = Prune::look(self.repository.store.as_ref(), &self.repository.seal.trust, self.policy).await?;
        let (objects, bytes) = prune.apply(&self.repository.store, &self.run).await?;
        let told = || {
            format!("removed {objects} objects, {} MiB, from {}", bytes.div_ceil(1 << 20), self.repository.store.url())
        };
        Ok((objects > 0).then(told))
    }
}
