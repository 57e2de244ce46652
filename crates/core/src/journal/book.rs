//! One journal as all parts of a run share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entry, Journal};
use crate::Result;

/// The journal of a run, or none: then nothing outlives this process.
#[derive(Debug, Clone, Default)]
pub struct Book {
    journal: Option<Arc<dyn Journal>>,
    last_id: Arc<AtomicU64>,
}

impl Book {
    /// A book in which is written.
    pub fn of(journal: Arc<dyn Journal>) -> Self {
        Self { journal: Some(journal), last_id: Arc::default() }
    }

    /// A number that nothing else in this run has.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes an entry, if there is a journal.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub fn write(&self, entry: &Entry) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.write(entry))
    }
}
