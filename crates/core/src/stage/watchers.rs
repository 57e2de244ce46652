//! What watches over a run while it goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, Result};

/// How long a watcher may take to end once the run has.
const ENDS: Duration = Duration::from_secs(2);

/// The watchers of one run.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// Cancelled when the run has ended.
    over: CancellationToken,
    /// Cancelled when one has failed.
    alarm: CancellationToken,
    failed: Mutex<Option<Error>>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Watchers {
    /// Starts one; `told` puts its error into words.
    pub(crate) fn start<F>(
        self: &Arc<Self>,
        watch: impl FnOnce(CancellationToken) -> F,
        told: impl FnOnce(Error) -> Error + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let watching = AbortOnDropHandle::new(tokio::spawn(watch(self.over.clone())));
        let all = Arc::clone(self);
        let task = tokio::spawn(async move {
            let error = match watching.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(gone) => Error::failed("a watcher broke down").because(gone),
            };
            all.failed().get_or_insert(told(error));
            all.alarm.cancel();
        });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(AbortOnDropHandle::new(task));
    }

    /// The error of the first that fails; never resolves as long as none does.
    pub(crate) async fn alarm(&self) -> Error {
        self.alarm.cancelled().await;
        self.failed().take().unwrap_or_else(|| Error::failed("a watcher failed"))
    }

    /// Tells all that the run has ended, and waits until they have.
    pub(crate) async fn end(&self) {
        self.over.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            for task in tasks {
                // Its error comes too late to matter.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(ENDS, all).await;
    }

    fn failed(&self) -> MutexGuard<'_, Option<Error>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
