//! Writes that nobody waits for any more, and may be done all the same.
//!
//! A request whose caller is dropped may have reached the store as a whole: the object then appears after the
//! caller has looked what is there. So a write that has begun goes on without its caller, for a while, and
//! whoever removes what a run has written waits for that first.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{Key, Over, Sha256, Store};

/// How long an object may still be on its way when nobody waits for it any more. What is not there as a whole by
/// then is cut off, and never comes to be there.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long is waited for all of them; others may write to the same store meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store whose writes end before what was written is looked at.
#[derive(Debug)]
pub struct Lasting {
    store: Arc<dyn Store>,
    under_way: TaskTracker,
}

impl Lasting {
    /// The same store.
    pub fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self { store, under_way: TaskTracker::new() })
    }

    /// Does it in a task of its own. `cut` is how long it may go on alone.
    async fn go_on<T, F>(&self, cut: Option<Duration>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let task = Some(self.under_way.spawn(work));
        let mut waiting = Waiting { task, cut, under_way: self.under_way.clone(), runtime: Handle::current() };
        let done = match waiting.task.as_mut() {
            Some(task) => task.await,
            None => return Err(Error::failed("a write was waited for twice")),
        };
        waiting.task = None;
        done.unwrap_or_else(|gone| Err(Error::failed("a write was given up").because(gone)))
    }
}

/// Waits for a write. When it is dropped, the write goes on alone.
struct Waiting<T: Send + 'static> {
    task: Option<JoinHandle<Result<T>>>,
    cut: Option<Duration>,
    under_way: TaskTracker,
    runtime: Handle,
}

impl<T: Send + 'static> Drop for Waiting<T> {
    fn drop(&mut self) {
        let (Some(mut task), Some(cut)) = (self.task.take(), self.cut) else { return };
        let ends = async move {
            if tokio::time::timeout(cut, &mut task).await.is_err() {
                task.abort();
            }
        };
        self.under_way.spawn_on(ends, &self.runtime);
    }
}

#[async_trait]
impl Over for Lasting {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        let (store, key) = (Arc::clone(&self.store), key.clone());
        self.go_on(Some(FAREWELL), async move { store.put(&key, bytes, sha256).await }).await
    }

    /// What is written only where there is nothing is small, and decides: it is never cut off.
    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        let (store, key) = (Arc::clone(&self.store), key.clone());
        self.go_on(None, async move { store.put_new(&key, bytes, sha256).await }).await
    }

    async fn settled(&self) {
        self.under_way.close();
        // One that lasts longer belongs to somebody who still waits for it.
        let _ = tokio::time::timeout(PATIENCE, self.under_way.wait()).await;
        self.under_way.reopen();
        self.store.settled().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::FileStore;

    /// Writes when it is let.
    #[derive(Debug)]
    struct Slow {
        store: FileStore,
        lets: Semaphore,
        begun: Semaphore,
    }

    impl Slow {
        async fn wait(&self) {
            self.begun.add_permits(1);
            self.lets.acquire().await.unwrap().forget();
        }
    }

    #[async_trait]
    impl Over for Slow {
        fn inner(&self) -> &dyn Store {
            &self.store
        }

        async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
            self.wait().await;
            self.store.put(key, bytes, sha256).await
        }

        async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
            self.wait().await;
            self.store.put_new(key, bytes, sha256).await
        }
    }

    struct Scene {
        _directory: tempfile::TempDir,
        slow: Arc<Slow>,
        store: Arc<dyn Store>,
        key: Key,
    }

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = FileStore::new(directory.path());
            let slow = Arc::new(Slow { store, lets: Semaphore::new(0), begun: Semaphore::new(0) });
            let store = Lasting::over(slow.clone());
            Self { _directory: directory, slow, store, key: Key::new("chunks/one/1").unwrap() }
        }

        /// Begins a write whose caller is then gone.
        async fn drops(&self, new: bool) {
            let (bytes, sha256) = (Bytes::from_static(b"x"), Sha256::of(b"x"));
            let write = async {
                match new {
                    true => self.store.put_new(&self.key, bytes, sha256).await.map(drop),
                    false => self.store.put(&self.key, bytes, sha256).await,
                }
            };
            tokio::select! {
                biased;
                _ = write => panic!("it was not let"),
                begun = self.slow.begun.acquire() => begun.unwrap().forget(),
            }
        }
    }

    #[tokio::test]
    async fn a_write_whose_caller_is_gone_is_done_before_anybody_looks() {
        for new in [false, true] {
            let scene = Scene::new();
            scene.drops(new).await;
            let settled = scene.store.settled();
            tokio::pin!(settled);
            tokio::select! {
                biased;
                () = &mut settled => panic!("it did not wait"),
                () = tokio::task::yield_now() => {}
            }
            scene.slow.lets.add_permits(1);
            settled.await;
            assert_eq!(scene.store.get(&scene.key).await.unwrap().as_deref(), Some(&b"x"[..]), "{new}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_long_on_its_way_never_comes_to_be_there() {
        let scene = Scene::new();
        scene.drops(false).await;
        scene.store.settled().await;
        scene.slow.lets.add_permits(1);
        scene.store.settled().await;
        assert_eq!(scene.slow.lets.available_permits(), 1, "it was cut off");
        assert!(scene.store.get(&scene.key).await.unwrap().is_none());
    }
}
