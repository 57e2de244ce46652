//! A stage with a time limit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Branch, CheckCx, Claim, Holdings, Stage, StageCx};
use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Item, SnapshotPart};
use crate::leftover::Leftovers;
use crate::{Kind, Mismatch, Result};

/// Another stage with a time limit, which the engine keeps.
#[derive(Debug)]
pub(crate) struct Limited {
    /// It.
    pub inner: Arc<dyn Stage>,
    /// How long it may work.
    pub limit: Duration,
}

#[async_trait]
impl Stage for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        self.inner.flow(input)
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    fn approaches(&self) -> bool {
        self.inner.approaches()
    }

    fn claims(&self) -> Vec<Claim> {
        self.inner.claims()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.inner.host()
    }

    fn carries(&self) -> bool {
        self.inner.carries()
    }

    fn branches(&self) -> &[Branch] {
        self.inner.branches()
    }

    fn locks(&self) -> Vec<Claim> {
        self.inner.locks()
    }

    async fn scout(&self, cx: &CheckCx) {
        self.inner.scout(cx).await;
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.inner.grants(cx).await
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.inner.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.inner.check(cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        self.inner.holds(wanted, cx).await
    }

    async fn unfinished(&self, datasets: &[&str], cx: &CheckCx) -> Result<Option<Vec<SnapshotPart>>> {
        self.inner.unfinished(datasets, cx).await
    }

    async fn targets(&self) -> Result<Vec<String>> {
        self.inner.targets().await
    }

    async fn forget(&self, target: &str) -> Result<Vec<String>> {
        self.inner.forget(target).await
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        self.inner.leftovers(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        self.inner.run(input, cx).await
    }
}
