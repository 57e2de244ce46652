//! How a put that failed is taken back, and what is done after one that did not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::undo::{Chore, Undo};

use crate::format::{chunks_of, records_of};
use crate::prune::{Policy, Prune};
use crate::seal::Trust;
use crate::store::Store;
use crate::uploads::{abandon, leave, sweep, uploads};

/// Removes what a run has put, unless its manifest is there after all.
#[derive(Debug)]
pub(super) struct Abandon {
    pub(super) store: Arc<dyn Store>,
    pub(super) run: String,
}

#[async_trait]
impl Undo for Abandon {
    fn describe(&self) -> String {
        format!("delete {} in {}", chunks_of(&self.run), self.store.url())
    }

    fn by_hand(&self) -> String {
        let url = self.store.url();
        let url = url.trim_end_matches('/');
        format!("delete every object below {url}/{} and {url}/{}", chunks_of(&self.run), records_of(&self.run))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn undo(&self) -> Result<()> {
        abandon(&self.store, &self.run, &self.run).await
    }
}

/// Leaves what was put for the next run, which goes on with it.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) store: Arc<dyn Store>,
    pub(super) upload: String,
    pub(super) run: String,
}

#[async_trait]
impl Undo for Leave {
    fn describe(&self) -> String {
        format!("leave {} in {} to the next run", chunks_of(&self.upload), self.store.url())
    }

    fn by_hand(&self) -> String {
        "run it again: it goes on where this run has stopped".to_owned()
    }

    async fn undo(&self) -> Result<()> {
        leave(&self.store, &self.upload, &self.run).await
    }
}

/// Removes uploads of a dataset that nobody can go on with any more: the chain has gone on without them.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) store: Arc<dyn Store>,
    pub(super) dataset: String,
    pub(super) run: String,
}

#[async_trait]
impl Chore for Sweep {
    fn describe(&self) -> String {
        format!("remove interrupted uploads of {} in {}", self.dataset, self.store.url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let mut removed = 0usize;
        for found in uploads(self.store.as_ref()).await? {
            let mine = found.newest().is_some_and(|newest| newest.dataset == self.dataset);
            removed += usize::from(mine && sweep(&self.store, &found, &self.run).await?);
        }
        Ok((removed > 0).then(|| format!("removed {removed} interrupted uploads in {}", self.store.url())))
    }
}

/// Marks what is not kept, and removes what was marked long enough ago.
#[derive(Debug)]
pub(super) struct PruneRepository {
    pub(super) store: Arc<dyn Store>,
    pub(super) trust: Trust,
    pub(super) policy: Policy,
    pub(super) run: String,
}

#[async_trait]
impl Chore for PruneRepository {
    fn describe(&self) -> String {
        format!("prune {}", self.store.url())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let prune = Prune::look(self.store.as_ref(), &self.trust, self.policy).await?;
        let (objects, bytes) = prune.apply(&self.store, &self.run).await?;
        let told = || format!("removed {objects} objects, {} MiB, from {}", bytes.div_ceil(1 << 20), self.store.url());
        Ok((objects > 0).then(told))
    }
}
