//! One run, and its branches as the stages in front of them see them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watchers::Watchers;
use super::{Board, Meters, Stage};
use crate::Kind;
use crate::engine::{Forked, Locks};
use crate::event::Observer;
use crate::report::RunReport;
use crate::undo::{Chore, Record, UndoStack};

/// A branch, as the stages in front of it see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ahead {
    /// Its name.
    pub name: String,
    /// What it gives in the end, where its stages fit.
    pub gives: Option<Kind>,
    /// What its stages leave for others; what the run's stages leave is found there too.
    pub board: Arc<Board>,
}

impl Ahead {
    /// Whether it ends with a server that follows its source.
    pub fn gives_standby(&self) -> bool {
        self.gives == Some(Kind::Standby)
    }
}

/// One run, as its stages share it.
pub struct Run {
    pub(crate) id: String,
    pub(crate) pipeline: String,
    pub(crate) stages: Vec<Arc<dyn Stage>>,
    /// The branch that this run is, if it is one.
    pub(crate) branch: Option<String>,
    /// How many of its stages stand in front of the branch, and are not its own.
    pub(crate) shared: usize,
    pub(crate) board: Arc<Board>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) observer: Arc<dyn Observer>,
    /// How long a stage may go on after a cancel.
    pub(crate) grace: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) stop_undo: CancellationToken,
    pub(crate) undo: Arc<UndoStack>,
    /// What it holds for itself on the machines that it changes.
    pub(crate) locks: Locks,
    pub(crate) chores: Mutex<Vec<(Record, Arc<dyn Chore>)>>,
    pub(crate) report: Mutex<RunReport>,
    pub(crate) watchers: Arc<Watchers>,
    /// How long no byte may move while a stream flows.
    pub(crate) stall: Option<Duration>,
    /// Of a round before the run proper: how many stages it has.
    pub(crate) round: OnceLock<usize>,
    /// What works for it as a branch: all of it is gone before anything is taken back.
    pub(crate) working: TaskTracker,
    /// Its branches, once they were surveyed.
    pub(crate) forked: Mutex<Vec<Forked>>,
}

impl Run {
    /// Its branches.
    pub(crate) fn forked(&self) -> Vec<Forked> {
        self.forked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its report as it is now.
    pub(crate) fn reported(&self) -> RunReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it a round that ends with the stage at `receiver`.
    pub(crate) fn becomes_round(&self, receiver: usize) {
        let _ = self.round.set(receiver + 1);
    }

    pub(crate) fn is_round(&self) -> bool {
        self.round.get().is_some()
    }

    /// How many of its stages it runs.
    pub(crate) fn end(&self) -> usize {
        *self.round.get().unwrap_or(&self.stages.len())
    }

    /// Notes something in the report.
    pub(crate) fn note(&self, note: impl FnOnce(&mut RunReport)) {
        note(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
