//! A stage around another one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Branch, CheckCx, Claim, Holdings, Stage, StageCx};
use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Item, SnapshotPart};
use crate::leftover::Leftovers;
use crate::{Kind, Mismatch, Result};

/// Another stage with something about it changed: what is not changed is that stage's own.
#[async_trait]
pub trait Around: Debug + Send + Sync {
    /// The other one.
    fn inner(&self) -> &dyn Stage;

    /// See [`Stage::limit`].
    fn limit(&self) -> Option<Duration> {
        self.inner().limit()
    }

    /// See [`Stage::run`].
    ///
    /// # Errors
    /// When it fails.
    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        self.inner().run(input, cx).await
    }
}

/// An [`Around`] as a stage.
#[derive(Debug)]
pub struct AroundStage<A>(pub A);

#[async_trait]
impl<A: Around> Stage for AroundStage<A> {
    fn name(&self) -> &str {
        self.0.inner().name()
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        self.0.inner().flow(input)
    }

    fn limit(&self) -> Option<Duration> {
        self.0.limit()
    }

    fn approaches(&self) -> bool {
        self.0.inner().approaches()
    }

    fn claims(&self) -> Vec<Claim> {
        self.0.inner().claims()
    }

    fn locks(&self) -> Vec<Claim> {
        self.0.inner().locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.0.inner().host()
    }

    fn carries(&self) -> bool {
        self.0.inner().carries()
    }

    fn branches(&self) -> &[Branch] {
        self.0.inner().branches()
    }

    async fn scout(&self, cx: &CheckCx) {
        self.0.inner().scout(cx).await;
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.0.inner().grants(cx).await
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.0.inner().survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.inner().check(cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        self.0.inner().holds(wanted, cx).await
    }

    async fn unfinished(&self, datasets: &[&str], cx: &CheckCx) -> Result<Option<Vec<SnapshotPart>>> {
        self.0.inner().unfinished(datasets, cx).await
    }

    async fn targets(&self) -> Result<Vec<String>> {
        self.0.inner().targets().await
    }

    async fn forget(&self, target: &str) -> Result<Vec<String>> {
        self.0.inner().forget(target).await
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        self.0.inner().leftovers(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        self.0.run(input, cx).await
    }
}
