//! Jobs that were dropped and may not have ended yet.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// How long a command waits for the end of those that were dropped before it.
const PATIENCE: Duration = Duration::from_secs(45);

/// What becomes of a job when its handle is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrop {
    /// It is ended at once.
    End,
    /// It is left to finish: a short act that must not be cut in half.
    Finish,
}

/// The jobs of a host whose handles were dropped. Whoever starts a command waits until they are
/// gone, so an undo never looks while what it is to take back is still being made.
#[derive(Debug, Default)]
pub struct Departing {
    new: Mutex<Vec<JoinHandle<Result<()>>>>,
    awaited: tokio::sync::Mutex<Vec<JoinHandle<Result<()>>>>,
}

impl Departing {
    /// Adds a job by what waits for its end. Outside a runtime nobody can wait, and it is dropped.
    pub fn add(&self, end: impl Future<Output = Result<()>> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.new.lock().unwrap_or_else(PoisonError::into_inner).push(runtime.spawn(end));
        }
    }

    /// Waits until every job that was added has ended.
    ///
    /// # Errors
    /// When one has not ended in time, or nobody can tell. Each is told once.
    pub async fn gone(&self) -> Result<()> {
        let mut awaited = self.awaited.lock().await;
        awaited.append(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(job) = awaited.last_mut() {
            // Kept in the list until it is known: whoever waits may be dropped.
            let ended = tokio::time::timeout(PATIENCE, job).await;
            awaited.pop();
            match ended {
                Ok(Ok(ended)) => ended?,
                // The runtime is going down.
                Ok(Err(_)) => {}
                Err(_) => return Err(Error::failed("a command that was ended is still running")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn one_waits_for_all_and_an_error_is_told_once() {
        let departing = Departing::default();
        let (end, ended) = oneshot::channel::<()>();
        departing.add(async move { ended.await.map_err(|_| Error::failed("never")) });
        departing.add(async { Err(Error::failed("nobody knows")) });
        assert_eq!(departing.gone().await.unwrap_err().chain(), "nobody knows");
        let waiting = departing.gone();
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        end.send(()).unwrap();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_may_be_dropped() {
        let departing = Departing::default();
        departing.add(std::future::pending());
        for _ in 0..2 {
            assert!(tokio::time::timeout(Duration::from_millis(20), departing.gone()).await.is_err());
        }
    }
}
