//! Takes back what was armed, last in first out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::report::Outcome;
use crate::stage::Run;
use crate::undo::Undo;
use crate::{Error, Result};

/// Undoes everything that is armed, each under its own fresh deadline. What fails stays armed.
pub(super) async fn unwind(run: &Arc<Run>, stop: &CancellationToken) -> Outcome {
    let mut outcome = Outcome::Undone;
    for undo in run.undo.armed() {
        match undo_one(undo.as_ref(), stop).await {
            Ok(()) => {
                run.undo.forget(&undo);
                run.observer.on(&Event::Undone { undo: undo.describe() });
            }
            Err(error) => {
                outcome = Outcome::Stuck;
                run.observer.on(&Event::Stuck { undo: undo.describe(), error: error.chain(), by_hand: undo.by_hand() });
            }
        }
    }
    outcome
}

async fn undo_one(undo: &dyn Undo, stop: &CancellationToken) -> Result<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::failed("given up on a second cancel")),
        done = tokio::time::timeout(undo.deadline(), undo.undo()) => {
            done.unwrap_or_else(|_| Err(Error::failed(format!("not done within {} s", undo.deadline().as_secs()))))
        }
    }
}
