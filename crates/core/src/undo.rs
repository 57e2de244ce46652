//! Undo is data, armed before the act, run by the engine and never by `Drop`.

pub mod by_name;
mod record;
mod stack;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use record::Record;
pub use stack::{Armed, Held, UndoStack};

use crate::Result;
use crate::host::Host;

/// How to take one act back.
///
/// The contract:
/// - It is armed **before** the act, so it must be content with finding nothing to take back.
/// - It is idempotent: run twice, the second time does nothing and succeeds.
/// - It uses no state of the stage that armed it and no cancelled token; connections are made anew. It
///   may be done by another process long after the one that armed it has died.
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

    /// Whether this is asked, before anything is taken back, if that may be done at all: see
    /// [`stands`](Self::stands).
    fn decides(&self) -> bool {
        false
    }

    /// Whether what the run is for has come about, and others may rely on it by now, though nobody could
    /// write down that the run has committed. Where one says so that [`decides`](Self::decides), the run, or the
    /// branch that armed it, counts as committed.
    ///
    /// # Errors
    /// When it can't be told: nothing is taken back then until it can.
    async fn stands(&self) -> Result<bool> {
        Ok(false)
    }
}

/// An undo that can be written down and, in another process, be done. What it is made of is what
/// serde writes; hosts and other resources are written [`by_name`], and secrets never.
///
/// `register_undo!("kind", Type)` implements it: see [`register_undo`](crate::register_undo).
pub trait StoredUndo: Undo + Serialize + DeserializeOwned + 'static {
    /// Its name in journals. Never changes, nor does the meaning of its fields: a journal may be older
    /// than the program that reads it.
    const KIND: &'static str;
}

/// Work for after the commit, for example pruning: it never fails the run, it only warns.
///
/// It is idempotent: a run that dies after its commit is finished by another process, which does all
/// of it once more.
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

/// A chore that can be written down, as [`StoredUndo`] is. `register_chore!("kind", Type)` implements it.
pub trait StoredChore: Chore + Serialize + DeserializeOwned + 'static {
    /// Its name in journals; never changes.
    const KIND: &'static str;
}
