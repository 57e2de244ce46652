//! Takes back what was armed, last in first out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Forked;
use super::commit::commit_rest;
use crate::event::Event;
use crate::report::Outcome;
use crate::stage::Run;
use crate::undo::{Held, Undo, UndoStack};
use crate::{Error, Result};

/// Takes a run back: first its branches that have not ended, then its own acts, unless a branch has
/// committed: what that one stands on stays. [`Outcome::Done`] where what the run is for stands all the same.
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
    if forked.iter().any(Forked::is_undecided) {
        all_stuck(run, "a branch may have committed, and stands on it");
        return Outcome::Stuck;
    }
    match settled(run).await {
        Some(Outcome::Stuck) => Outcome::Stuck,
        Some(settled) => {
            if outcome == Outcome::Stuck {
                outcome
            } else {
                settled
            }
        }
        None => outcome.max(take_back(run, &run.undo, None).await),
    }
}

/// How a run, or a branch, has ended that must not be taken back: it is done where what it is for
/// [stands](Undo::stands), and stuck where that can't be told.
pub(super) async fn settled(run: &Run) -> Option<Outcome> {
    for held in run.undo.armed().iter().filter(|held| held.undo.decides()) {
        match in_time(held.undo.as_ref(), held.undo.stands(), &run.stop_undo).await {
            Ok(false) => {}
            Ok(true) => {
                commit_rest(run).await;
                return Some(Outcome::Done);
            }
            Err(error) => {
                all_stuck(run, &error.chain());
                return Some(Outcome::Stuck);
            }
        }
    }
    None
}

/// Undoes what is armed, each under its own fresh deadline: of one branch, or everything. What fails
/// stays armed.
pub(super) async fn take_back(run: &Run, stack: &UndoStack, branch: Option<&str>) -> Outcome {
    let mut outcome = Outcome::Undone;
    for held in stack.armed_for(branch) {
        match undo_one(held.undo.as_ref(), &run.stop_undo).await {
            Ok(()) => {
                run.observer.on(&Event::Undone { undo: held.undo.describe() });
                noted(run, stack.undone(held.armed));
            }
            Err(error) => {
                outcome = Outcome::Stuck;
                is_stuck(run, stack, &held, &error.chain());
            }
        }
    }
    outcome
}

/// Tells that nothing is taken back.
fn all_stuck(run: &Run, error: &str) {
    run.undo.armed().iter().for_each(|held| is_stuck(run, &run.undo, held, error));
}

/// Tells that an undo could not be done.
fn is_stuck(run: &Run, stack: &UndoStack, held: &Held, error: &str) {
    noted(run, stack.stuck(held.armed, error));
    let undo = &held.undo;
    run.observer.on(&Event::Stuck { undo: undo.describe(), error: error.to_owned(), by_hand: undo.by_hand() });
}

/// Taking back goes on: who reads the journal would do this once more, in vain and without harm.
fn noted(run: &Run, written: Result<()>) {
    if let Err(error) = written {
        run.observer.on(&Event::Warning { stage: None, text: error.chain() });
    }
}

/// Does one undo within its deadline.
pub(crate) async fn undo_one(undo: &dyn Undo, stop: &CancellationToken) -> Result<()> {
    in_time(undo, undo.undo(), stop).await
}

/// What is asked of an undo, within its deadline.
pub(crate) async fn in_time<T>(
    undo: &dyn Undo,
    act: impl Future<Output = Result<T>>,
    stop: &CancellationToken,
) -> Result<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::failed("given up on a second cancel")),
        done = tokio::time::timeout(undo.deadline(), act) => {
            done.unwrap_or_else(|_| Err(Error::failed(format!("not done within {} s", undo.deadline().as_secs()))))
        }
    }
}
