//! Takes back what was armed, last in first out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::commit::commit_rest;
use crate::event::Event;
use crate::report::Outcome;
use crate::stage::Run;
use crate::undo::{Undo, UndoStack};
use crate::{Error, Result};

/// Takes a run back: first its branches that have not ended, then its own acts, unless a branch has
/// committed: what that one stands on stays.
pub(super) async fn unwind(run: &Arc<Run>) -> Outcome {
    let mut outcome = Outcome::Undone;
    let forked = run.forked();
    for branch in forked.iter().filter(|branch| !branch.has_ended()) {
        outcome = outcome.max(branch.give_up(run, Error::cancelled()).await);
    }
    if forked.iter().any(|branch| branch.has_committed()) {
        commit_rest(run).await;
        let stuck = forked.iter().any(|branch| branch.end() == Some(Outcome::Stuck));
        return if stuck { Outcome::Stuck } else { outcome };
    }
    outcome.max(take_back(run, &run.undo, None).await)
}

/// Undoes what is armed, each under its own fresh deadline: of one branch, or everything. What fails
/// stays armed.
pub(super) async fn take_back(run: &Run, stack: &UndoStack, branch: Option<&str>) -> Outcome {
    let mut outcome = Outcome::Undone;
    for held in stack.armed_for(branch) {
        let undo = held.undo;
        let written = match undo_one(undo.as_ref(), &run.stop_undo).await {
            Ok(()) => {
                run.observer.on(&Event::Undone { undo: undo.describe() });
                stack.undone(held.armed)
            }
            Err(error) => {
                outcome = Outcome::Stuck;
                let error = error.chain();
                let written = stack.stuck(held.armed, &error);
                run.observer.on(&Event::Stuck { undo: undo.describe(), error, by_hand: undo.by_hand() });
                written
            }
        };
        // Taking back goes on: who reads the journal would do this once more, in vain and without harm.
        if let Err(error) = written {
            run.observer.on(&Event::Warning { stage: None, text: error.chain() });
        }
    }
    outcome
}

/// Does one undo within its deadline.
pub(crate) async fn undo_one(undo: &dyn Undo, stop: &CancellationToken) -> Result<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::failed("given up on a second cancel")),
        done = tokio::time::timeout(undo.deadline(), undo.undo()) => {
            done.unwrap_or_else(|_| Err(Error::failed(format!("not done within {} s", undo.deadline().as_secs()))))
        }
    }
}
