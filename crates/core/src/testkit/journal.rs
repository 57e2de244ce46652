//! A journal in memory.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::journal::{Entry, Journal, Journals};
use crate::undo::Record;

/// Keeps what runs write down as long as this process lasts.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<Entry>>>);

impl Memory {
    /// What was armed and not taken back or made good in the normal course, the last first.
    pub(super) fn armed(&self) -> Vec<Record> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let disarmed = |id: u64| {
            entries
                .iter()
                .any(|entry| matches!(entry, Entry::Disarmed { id: of, also } if *of == id || also.contains(&id)))
        };
        let armed = entries.iter().rev().filter_map(|entry| match entry {
            Entry::Armed { id, undo, .. } if !disarmed(*id) => Some(undo.clone()),
            _ => None,
        });
        armed.collect()
    }
}

impl Journal for Memory {
    fn write(&self, entry: &Entry) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        Ok(())
    }
}

impl Journals for Memory {
    fn begin(&self, _run: &str, _pipeline: &str) -> Result<Arc<dyn Journal>> {
        Ok(Arc::new(self.clone()))
    }
}
