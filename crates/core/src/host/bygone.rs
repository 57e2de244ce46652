//! A process that is gone, and may have left commands at work.

use std::fmt;
use std::sync::Arc;

use super::mark::is_mark;
use crate::Error;

type Warn = dyn Fn(String) + Send + Sync;

/// A process that was killed. A short act that it had begun may still be on its way: whoever takes back
/// what the process has done waits for that first, lest it lands after its undo.
#[derive(Clone)]
pub struct Bygone {
    mark: String,
    warn: Arc<Warn>,
}

impl Bygone {
    /// The process of this mark, and who is told what it has still at work when that is not awaited any
    /// longer. `None` for what is no mark, such as that of a process that had none, and for this process.
    pub fn new(mark: &str, warn: impl Fn(String) + Send + Sync + 'static) -> Option<Self> {
        let other = is_mark(mark) && mark != super::mark();
        other.then(|| Self { mark: mark.to_owned(), warn: Arc::new(warn) })
    }

    /// Its mark.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Tells what is still at work, and is not awaited any longer.
    pub fn goes_on(&self, host: &str, commands: &[String]) {
        let commands: Vec<_> = commands.iter().map(|command| format!("`{command}`")).collect();
        (self.warn)(format!("the run that died has still at work on {host}: {}", commands.join(", ")));
    }

    /// Tells that nobody knows whether something is still at work.
    pub fn is_unknown(&self, host: &str, error: &Error) {
        (self.warn)(format!(
            "can't tell whether the run that died has still something at work on {host}: {}",
            error.chain()
        ));
    }
}

impl fmt::Debug for Bygone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bygone").field(&self.mark).finish()
    }
}
