//! Notes in the journal what the stages do.

use std::sync::Arc;

use super::{Book, Entry, StageState};
use crate::event::{Event, Observer};

/// Watches a run for its journal, and passes everything on.
pub(crate) struct Noting {
    pub(crate) book: Book,
    pub(crate) inner: Arc<dyn Observer>,
}

impl Observer for Noting {
    fn on(&self, event: &Event) {
        let entry = match event {
            Event::StageStarted { stage, .. } => Some((stage, StageState::Started, None, None)),
            Event::StageFinished { stage, seconds, .. } => Some((stage, StageState::Finished, Some(*seconds), None)),
            Event::StageFailed { stage, error, .. } => Some((stage, StageState::Failed, None, Some(error.clone()))),
            _ => None,
        };
        if let Some((stage, state, seconds, error)) = entry {
            // Nothing depends on it. If the journal can't be written, the next act is not done.
            let _ = self.book.write(&Entry::Stage { stage: stage.clone(), state, seconds, error });
        }
        self.inner.on(event);
    }
}
