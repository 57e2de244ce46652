//! Collects what stages say while they survey and check.

use std::sync::{Mutex, PoisonError};

use reseed_core::event::{Event, Observer};

/// Everything that was said, in order.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<Event>>);

impl Notes {
    /// What was said so far.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Notes {
    fn on(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
