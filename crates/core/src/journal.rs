//! The journal of a run: what it does is written down before it is done, so that another process can
//! take it back, or finish it, after a crash of this one or of the machine.
//!
//! The rule for a run that died is one line: without a durable [`Entry::Committed`] everything that is
//! armed is taken back, last in first out; with one, nothing is, and the chores are done. A run commits
//! after its proof and before anything that can't be taken back.
//!
//! An embedder gives the engine [`Journals`] of its own, those of a [`StateDirectory`], or none.

mod book;
mod entry;
mod file;
mod line;
mod noting;
mod owner;
mod reach;
mod recover;
mod settle;
mod state;
mod story;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

pub use book::Book;
pub use entry::{Begin, Ended, Entry, StageState, Target};
pub use file::FileJournal;
pub(crate) use noting::Noting;
pub use owner::Owner;
pub use reach::Reach;
pub use recover::{Recovery, Stuck, Swept, Taken, recover};
pub use state::{Damaged, Dead, DeadRun, Found, StateDirectory, Written};
pub use story::{Left, StageLine, Story};

use crate::Result;

/// The version of the format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The journal of one run.
pub trait Journal: Debug + Send + Sync {
    /// Writes an entry at the end. When this returns, the entry is on disk.
    ///
    /// # Errors
    /// When it is not. Then it is not in the journal at all, and nothing that it announces may be done.
    fn write(&self, entry: &Entry) -> Result<()>;
}

/// Where the journals of runs are begun.
pub trait Journals: Debug + Send + Sync {
    /// Begins the journal of a run.
    ///
    /// # Errors
    /// When it can't be kept; the run is refused then.
    fn begin(&self, run: &str, pipeline: &str) -> Result<Arc<dyn Journal>>;

    /// Whether this run is known here, and is at its end with nothing left of it.
    fn has_ended(&self, _run: &str) -> bool {
        false
    }
}
