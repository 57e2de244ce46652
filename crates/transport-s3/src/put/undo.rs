//! What a put leaves to be taken back, or to be done after it has committed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::undo::{Chore, Undo, by_name};
use reseed_core::{register_chore, register_undo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::{chunks_of, records_of};
use crate::prune::{Policy, Prune};
use crate::repository::RepositoryResource;
use crate::seal::Seal;
use crate::store::{Key, Sha256, Store};
use crate::uploads::{abandon, leave, sweep, uploads};

/// A repository and its name in the pipeline file, by which a record tells it.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    name: String,
    resource: RepositoryResource,
}

impl Repository {
    pub(super) fn new(name: &str, store: &Arc<dyn Store>, seal: &Arc<Seal>) -> Self {
        Self { name: name.to_owned(), resource: RepositoryResource(Arc::clone(store), Arc::clone(seal)) }
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.resource.0
    }

    fn url(&self) -> String {
        self.store().url().trim_end_matches('/').to_owned()
    }
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
        Ok(Self { name, resource: RepositoryResource::clone(&resource) })
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
        format!("delete {} in {}", chunks_of(&self.run), self.repository.store().url())
    }

    fn by_hand(&self) -> String {
        let url = self.repository.url();
        format!("delete every object below {url}/{} and {url}/{}", chunks_of(&self.run), records_of(&self.run))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn undo(&self) -> Result<()> {
        self.repository.store().settled().await;
        abandon(self.repository.store(), &self.run, &self.run).await
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
        format!("leave {} in {} to the next run", chunks_of(&self.upload), self.repository.store().url())
    }

    fn by_hand(&self) -> String {
        "run it again: it goes on where this run has stopped".to_owned()
    }

    async fn undo(&self) -> Result<()> {
        leave(self.repository.store(), &self.upload, &self.run).await
    }
}

/// Before a manifest is written: whether it was, tells whether the run has committed, as others may read it at
/// once. What it stands on, the source's snapshots above all, stays then.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Publish {
    pub(super) repository: Repository,
    pub(super) manifest: String,
    #[serde(with = "crate::format::hex")]
    pub(super) sha256: Sha256,
}

register_undo!("staged-publish", Publish);

#[async_trait]
impl Undo for Publish {
    fn describe(&self) -> String {
        format!("see that {}/{} was not written", self.repository.url(), self.manifest)
    }

    fn by_hand(&self) -> String {
        format!(
            "reseed recover, once {} can be asked: where {} is there, all stays",
            self.repository.url(),
            self.manifest
        )
    }

    async fn undo(&self) -> Result<()> {
        Ok(())
    }

    fn decides(&self) -> bool {
        true
    }

    async fn stands(&self) -> Result<bool> {
        self.repository.store().settled().await;
        let found = self.repository.store().get(&Key::new(&*self.manifest)?).await?;
        Ok(found.is_some_and(|bytes| Sha256::of(&bytes) == self.sha256))
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
        format!("remove interrupted uploads of {} in {}", self.dataset, self.repository.store().url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let (store, mut removed) = (self.repository.store(), 0usize);
        for found in uploads(store.as_ref()).await? {
            let mine = found.newest().is_some_and(|newest| newest.dataset == self.dataset);
            removed += usize::from(mine && sweep(store, &found, &self.run).await?);
        }
        Ok((removed > 0).then(|| format!("removed {removed} interrupted uploads in {}", store.url())))
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
        format!("prune {}", self.repository.store().url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let RepositoryResource(store, seal) = &self.repository.resource;
        let prune = Prune::look(store.as_ref(), &seal.trust, self.policy).await?;
        let (objects, bytes) = prune.apply(store, &self.run).await?;
        let told = || format!("removed {objects} objects, {} MiB, from {}", bytes.div_ceil(1 << 20), store.url());
        Ok((objects > 0).then(told))
    }
}
