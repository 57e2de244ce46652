//! Branches of a run: each runs the rest of the way by itself and ends by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commit::{commit, finish};
use super::drive;
use super::locks::Locks;
use super::unwind::{settled, take_back};
use crate::event::{Event, Observer};
use crate::item::Item;
use crate::report::{BranchReport, Outcome, RunReport, StreamHash};
use crate::stage::{Ahead, Board, Branch, CheckCx, Run};
use crate::undo::UndoStack;
use crate::{Class, Error, Kind, Result};

/// One branch of a run.
#[derive(Clone)]
pub(crate) struct Forked {
    run: Arc<Run>,
    /// Position of its first own stage.
    from: usize,
    end: Arc<Mutex<Option<Outcome>>>,
    /// Whether what it did is being taken back.
    given_up: Arc<AtomicBool>,
    /// Whether it has failed, and nobody can tell whether what it is for stands all the same.
    undecided: Arc<AtomicBool>,
}

/// Tells of a branch under its name.
struct Tagged {
    branch: String,
    at: usize,
    inner: Arc<dyn Observer>,
}

impl Observer for Tagged {
    fn on(&self, event: &Event) {
        let mut event = event.clone();
        event.of_branch(&self.branch, self.at);
        self.inner.on(&event);
    }
}

impl Forked {
    /// The branches of the stage that asks, made when they are first asked for.
    pub(crate) fn of(cx: &CheckCx, branches: &[Branch]) -> Vec<Self> {
        let mut forked = cx.run.forked.lock().unwrap_or_else(PoisonError::into_inner);
        if forked.is_empty() {
            *forked = branches.iter().map(|branch| Self::new(cx, branch)).collect();
        }
        forked.clone()
    }

    fn new(cx: &CheckCx, branch: &Branch) -> Self {
        let outer = &cx.run;
        let before = &outer.stages[..cx.index];
        let run = Run {
            id: outer.id.clone(),
            pipeline: outer.pipeline.clone(),
            stages: before.iter().chain(&branch.stages).cloned().collect(),
            branch: Some(branch.name.clone()),
            shared: before.len(),
            board: Arc::new(Board::under(&outer.board)),
            meters: Arc::clone(&outer.meters),
            observer: Arc::new(Tagged {
                branch: branch.name.clone(),
                at: cx.index,
                inner: Arc::clone(&outer.observer),
            }),
            // The stage that waits for the branch has a grace of its own.
            grace: outer.grace / 2,
            cancel: outer.cancel.child_token(),
            stop_undo: outer.stop_undo.clone(),
            undo: Arc::new(UndoStack::new(outer.undo.book().clone(), Some(&branch.name))),
            chores: Mutex::default(),
            // The run holds those of its branches too.
            locks: Locks::default(),
            report: Mutex::new(RunReport::new(&outer.id, &outer.pipeline)),
            working: TaskTracker::new(),
            forked: Mutex::default(),
            watchers: Arc::default(),
            // All branches share the counters: the run itself watches them.
            stall: None,
            round: OnceLock::new(),
        };
        Self {
            run: Arc::new(run),
            from: before.len(),
            end: Arc::default(),
            given_up: Arc::default(),
            undecided: Arc::default(),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.run.branch.as_deref().unwrap_or_default()
    }

    /// How the stages in front of the branch see it.
    pub(crate) fn ahead(&self) -> Ahead {
        let gives = self.run.stages.iter().try_fold(Kind::Start, |kind, stage| stage.flow(&kind).ok());
        Ahead { name: self.name().to_owned(), gives, board: Arc::clone(&self.run.board) }
    }

    /// Cancels this branch alone: the others wait for it in vain.
    pub(crate) fn cancel_token(&self) -> CancellationToken {
        self.run.cancel.clone()
    }

    /// How the last stage in front of the branch sees it.
    pub(crate) fn cx(&self) -> CheckCx {
        CheckCx { run: Arc::clone(&self.run), index: self.from.saturating_sub(1) }
    }

    /// Its own stages: each as a run and a position in it.
    pub(super) fn stages(&self) -> impl Iterator<Item = (Arc<Run>, usize)> + use<> {
        let run = Arc::clone(&self.run);
        (self.from..run.stages.len()).map(move |index| (Arc::clone(&run), index))
    }

    /// Runs its stages and commits, or takes back what it did and what was done for it.
    pub(crate) fn run(self, outer: Arc<Run>, item: Item) -> impl Future<Output = Result<Item>> + Send {
        let working = self.run.working.clone();
        working.track_future(async move { self.to_its_end(&outer, item).await })
    }

    /// Resolves when nothing works for the branch any more: neither its stages nor what drives them.
    pub(super) async fn is_gone(&self) {
        self.run.working.close();
        self.run.working.wait().await;
    }

    pub(crate) fn is_at_work(&self) -> bool {
        !self.given_up.load(Ordering::SeqCst) && !self.has_ended()
    }

    async fn to_its_end(&self, outer: &Arc<Run>, item: Item) -> Result<Item> {
        let done = drive::stages(&self.run, self.from..self.run.end(), item).await;
        self.run.watchers.end().await;
        match done.and_then(|item| commit(&self.run).map(|committed| (item, committed))) {
            Ok((item, committed)) => {
                self.ends(outer, Outcome::Done, None);
                finish(committed, &self.run).await;
                Ok(item)
            }
            Err(error) if outer.cancel.is_cancelled() => Err(error),
            Err(error) => {
                let behind = || Error::failed("it fell behind and was dropped, the others had waited for long enough");
                let error = if error.class() == Class::Cancelled { behind() } else { error };
                let told = Error::failed(error.chain());
                if self.give_up(outer, error).await == Outcome::Done {
                    // What it is for stands all the same; nothing comes after a branch that would take its item.
                    return Ok(Item::start());
                }
                Err(told.context(format!("branch {}", self.name())))
            }
        }
    }

    /// Takes back what the branch did, and what was done for it in front of it.
    pub(super) async fn give_up(&self, outer: &Arc<Run>, error: Error) -> Outcome {
        self.given_up.store(true, Ordering::SeqCst);
        // One that was dropped in the midst of its stages has not ended them.
        self.run.watchers.end().await;
        match settled(&self.run).await {
            Some(Outcome::Done) => {
                self.run.observer.on(&Event::Warning { stage: None, text: error.chain() });
                self.ends(outer, Outcome::Done, None);
                return Outcome::Done;
            }
            Some(outcome) => {
                self.undecided.store(true, Ordering::SeqCst);
                return self.is_given_up(outer, outcome, &error);
            }
            None => {}
        }
        let own = take_back(&self.run, &self.run.undo, None).await;
        let outcome = own.max(take_back(&self.run, &outer.undo, Some(self.name())).await);
        self.is_given_up(outer, outcome, &error)
    }

    fn is_given_up(&self, outer: &Run, outcome: Outcome, error: &Error) -> Outcome {
        let left = self.run.undo.armed().into_iter().chain(outer.undo.armed_for(Some(self.name())));
        let by_hand: Vec<_> = left.map(|held| held.undo.by_hand()).collect();
        outer.undo.disown(self.name());
        outer.note(|report| report.by_hand.extend(by_hand));
        self.ends(outer, outcome, Some(error));
        outcome
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    pub(super) fn has_committed(&self) -> bool {
        self.end() == Some(Outcome::Done)
    }

    /// Whether it may have committed: what it stands on stays until that can be told.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) -> Option<Outcome> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, outer: &Run, outcome: Outcome, error: Option<&Error>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        let mine = self.run.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report = BranchReport::new(self.name(), outcome, &mine, error.map(Error::chain));
        self.run.observer.on(&Event::BranchFinished(report.clone()));
        let at = self.from;
        outer.note(|all| {
            all.said.extend(mine.said.into_iter().map(|said| said.of_branch(self.name(), at)));
            all.hashes.extend(mine.hashes.into_iter().map(|hash| StreamHash { index: at, ..hash }));
            all.add(report);
        });
    }
}

/// Names of the branches that have committed: what they did stays, whatever becomes of the run.
pub(super) fn committed(run: &Run) -> Vec<String> {
    run.forked().iter().filter(|branch| branch.has_committed()).map(|branch| branch.name().to_owned()).collect()
}

/// Why a branch is stuck, if one is: a run is not done where a person has to put something right.
pub(super) fn stuck(run: &Run) -> Option<String> {
    let report = run.report.lock().unwrap_or_else(PoisonError::into_inner);
    let branch = report.branches.iter().find(|branch| branch.outcome == Outcome::Stuck)?;
    Some(format!("branch {}: {}", branch.branch, branch.error.as_deref().unwrap_or("failed")))
}
