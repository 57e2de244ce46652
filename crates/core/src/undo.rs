//! Undo is data, armed before the act, run by the engine and never by `Drop`.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::host::Host;

/// How to take one act back.
///
/// The contract:
/// - It is armed **before** the act, so it must be content with finding nothing to take back.
/// - It is idempotent: run twice, the second time does nothing and succeeds.
/// - It uses no state of the stage that armed it and no cancelled token; connections are made anew.
#[async_trait]
pub trait Undo: Debug + Send + Sync {
    /// What it does, as a phrase: `destroy tank/pg@reseed-…`.
    fn describe(&self) -> String;

    /// The command that a person would type if this can't be done.
    fn by_hand(&self) -> String;

    /// How long it may take before it counts as failed.
    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Takes the act back.
    ///
    /// # Errors
    /// When what was left behind is still there afterwards.
    async fn undo(&self) -> Result<()>;
}

/// Work for after the commit, for example pruning: it never fails the run, it only warns.
#[async_trait]
pub trait Chore: Debug + Send + Sync {
    /// What it does, as a phrase.
    fn describe(&self) -> String;

    /// The machine that it works on. Chores of one machine are done in the order in which they were
    /// added; those of different machines do not wait for each other.
    fn host(&self) -> Option<Arc<dyn Host>> {
        None
    }

    /// Does it; may say what it did.
    ///
    /// # Errors
    /// When it could not be done; the next run tries again.
    async fn perform(&self) -> Result<Option<String>>;
}

/// The name of one armed undo, by which it is disarmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "keep it if the undo is to be disarmed; otherwise write `let _ =`"]
pub struct Armed(u64);

/// Everything that is armed in one run, last in first out. The one place where undos are kept.
#[derive(Debug, Default)]
pub struct UndoStack {
    inner: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    armed: Vec<(u64, Arc<dyn Undo>)>,
}

impl UndoStack {
    /// Arms an undo; call this before the act.
    pub fn arm(&self, undo: Arc<dyn Undo>) -> Armed {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        inner.armed.push((id, undo));
        Armed(id)
    }

    /// Forgets an undo whose act has been taken back, or made good, in the normal course.
    pub fn disarm(&self, armed: Armed) {
        self.lock().armed.retain(|(id, _)| *id != armed.0);
    }

    /// Forgets everything: the run has committed.
    pub fn commit(&self) {
        self.lock().armed.clear();
    }

    /// Forgets one undo that has been done.
    pub fn forget(&self, done: &Arc<dyn Undo>) {
        self.lock().armed.retain(|(_, undo)| !Arc::ptr_eq(undo, done));
    }

    /// What is armed, the last first.
    pub fn armed(&self) -> Vec<Arc<dyn Undo>> {
        self.lock().armed.iter().rev().map(|(_, undo)| Arc::clone(undo)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
