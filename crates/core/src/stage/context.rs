//! What a stage may ask of its run.

use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Ahead, Board, Flowing, Holdings, Meters, Run, Stage};
use crate::engine::Forked;
use crate::event::Event;
use crate::host::Host;
use crate::item::SnapshotPart;
use crate::report::RunReport;
use crate::undo::{Armed, Record, StoredChore, StoredUndo};
use crate::{Error, Kind, Result};

/// What a stage may ask and say while it surveys and checks.
#[derive(Clone)]
pub struct CheckCx {
    pub(crate) run: Arc<Run>,
    pub(crate) index: usize,
}

impl CheckCx {
    /// The run's id: letters, digits and `-` only. Everything left behind carries it in its name.
    pub fn run_id(&self) -> &str {
        &self.run.id
    }

    /// The name of the stage that asks.
    pub fn name(&self) -> &str {
        self.stage().name()
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.run.pipeline
    }

    /// Where findings are left.
    pub fn board(&self) -> &Board {
        &self.run.board
    }

    /// Tells those who watch what was found out.
    pub fn note(&self, text: impl Into<String>) {
        self.run.observer.on(&Event::Note {
            index: self.index,
            stage: self.stage().name().to_owned(),
            text: text.into(),
        });
    }

    /// Tells those who watch what they should look at.
    pub fn warn(&self, text: impl Into<String>) {
        let stage = Some(self.stage().name().to_owned());
        self.run.observer.on(&Event::Warning { stage, text: text.into() });
    }

    /// What the target holds of these datasets, as the nearest later stage that knows says.
    ///
    /// # Errors
    /// When the target can't be asked, or no later stage knows.
    pub async fn holdings(&self, wanted: &[SnapshotPart]) -> Result<Holdings> {
        wanted.iter().try_for_each(SnapshotPart::check)?;
        for (index, stage) in self.run.stages.iter().enumerate().skip(self.index + 1) {
            let cx = CheckCx { run: Arc::clone(&self.run), index };
            if let Some(held) = stage.holds(wanted, &cx).await? {
                return Ok(held);
            }
        }
        Err(Error::refused("no later stage receives what this one sends"))
    }

    /// Whether this is only a round before the run proper: it brings the target nearer, without anything
    /// that the source would have to hold back for it. No copy is made to run, and none is proven.
    pub fn approaching(&self) -> bool {
        self.run.is_round()
    }

    /// Snapshots of these datasets with which an earlier run was not done, as a later stage says that can go
    /// on with their streams: who takes snapshots takes no new ones then, where these are still there.
    ///
    /// # Errors
    /// When what is kept of that run can't be looked at.
    pub async fn unfinished(&self, datasets: &[&str]) -> Result<Option<Vec<SnapshotPart>>> {
        for (index, stage) in self.run.stages.iter().enumerate().skip(self.index + 1) {
            let cx = CheckCx { run: Arc::clone(&self.run), index };
            if let Some(begun) = stage.unfinished(datasets, &cx).await? {
                begun.iter().try_for_each(SnapshotPart::check)?;
                return Ok(Some(begun));
            }
        }
        Ok(None)
    }

    /// The kind that this stage is given.
    pub fn input(&self) -> Option<Kind> {
        let mut earlier = self.run.stages.iter().take(self.index);
        earlier.try_fold(Kind::Start, |kind, stage| stage.flow(&kind).ok())
    }

    /// Positions of the earlier stages of this name, and the kind that each is given.
    pub(crate) fn inputs_of(&self, name: &str) -> Vec<(usize, Kind)> {
        let mut kind = Kind::Start;
        let mut inputs = Vec::new();
        for (index, stage) in self.run.stages.iter().enumerate().take(self.index) {
            if stage.name() == name {
                inputs.push((index, kind.clone()));
            }
            match stage.flow(&kind) {
                Ok(given) => kind = given,
                Err(_) => break,
            }
        }
        inputs
    }

    /// The machine that the nearest later stage works on.
    pub fn next_host(&self) -> Option<Arc<dyn Host>> {
        self.run.stages.iter().skip(self.index + 1).find_map(|stage| stage.host())
    }

    /// The machine that the nearest earlier stage works on.
    pub fn previous_host(&self) -> Option<Arc<dyn Host>> {
        if self.is_carried_on() {
            return Some(crate::stages::here());
        }
        self.run.stages.iter().take(self.index).rev().find_map(|stage| stage.host())
    }

    /// The machine that the streams are on when this stage takes them: the one that makes them, or,
    /// behind a transport, the one that receives them. `None` where they are in this process.
    pub fn stream_host(&self) -> Option<Arc<dyn Host>> {
        if self.is_carried_on() {
            return None;
        }
        let earlier = self.run.stages.iter().take(self.index).rev();
        let carried = earlier.take_while(|stage| stage.host().is_none()).any(|stage| stage.carries());
        if carried { self.next_host() } else { self.previous_host() }
    }

    /// Whether the stage is in a branch whose streams a transport has brought into this process, and another
    /// one, not in front of it, carries on.
    fn is_carried_on(&self) -> bool {
        let carries = |stages: &[Arc<dyn Stage>]| stages.iter().any(|stage| stage.carries());
        let Some((shared, own)) = self.run.stages.split_at_checked(self.run.shared) else { return false };
        let Some(at) = self.index.checked_sub(shared.len()).filter(|at| *at < own.len()) else { return false };
        carries(shared) && !carries(&own[..at]) && carries(&own[at..])
    }

    /// The branches into which this run parts; none where it does not. What their stages find out is
    /// there once every survey is done.
    pub fn branches(&self) -> Vec<Ahead> {
        self.run.forked().iter().map(Forked::ahead).collect()
    }

    /// Whether a branch of this run is at work: it has not ended, and nothing of it is being taken back.
    pub fn is_at_work(&self, branch: &str) -> bool {
        self.run.forked().iter().any(|one| one.name() == branch && one.is_at_work())
    }

    /// The same stage as it stands in each branch into which the run parts behind it; none where it does not.
    pub(crate) fn in_branches(&self) -> Vec<CheckCx> {
        let parts = |(_, stage): &(usize, &Arc<dyn Stage>)| !stage.branches().is_empty();
        let Some((index, stage)) = self.run.stages.iter().enumerate().skip(self.index + 1).find(parts) else {
            return vec![];
        };
        let forked = Forked::of(&CheckCx { run: Arc::clone(&self.run), index }, stage.branches());
        forked.iter().map(|branch| CheckCx { index: self.index, ..branch.cx() }).collect()
    }

    /// The branch that the stage is in.
    pub fn branch(&self) -> Option<&str> {
        self.run.branch.as_deref()
    }

    /// What the run, or the branch that the stage is in, gives in the end, where its stages fit.
    pub fn gives(&self) -> Option<Kind> {
        self.run.stages.iter().try_fold(Kind::Start, |kind, stage| stage.flow(&kind).ok())
    }

    /// Whether a stage of this name is in the pipeline.
    pub fn has_stage(&self, name: &str) -> bool {
        self.run.stages.iter().any(|stage| stage.name() == name)
    }

    fn stage(&self) -> &Arc<dyn Stage> {
        &self.run.stages[self.index]
    }
}

/// What a stage may ask and do while it runs.
#[derive(Clone)]
pub struct StageCx(pub(crate) CheckCx);

impl Deref for StageCx {
    type Target = CheckCx;

    fn deref(&self) -> &CheckCx {
        &self.0
    }
}

impl StageCx {
    /// Arms an undo. Call this before the act: when it returns, the undo is in the run's journal, on disk.
    ///
    /// # Errors
    /// When it can't be written down; the act must not be done then.
    pub fn arm(&self, undo: impl StoredUndo) -> Result<Armed> {
        self.run.undo.arm(None, undo)
    }

    /// Arms the undo of an act that is done for one branch alone: it is taken back with the branch.
    ///
    /// # Errors
    /// As [`arm`](Self::arm).
    pub fn arm_for(&self, branch: &str, undo: impl StoredUndo) -> Result<Armed> {
        self.run.undo.arm(Some(branch), undo)
    }

    /// Disarms an undo whose act was taken back, or made good, in the normal course.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn disarm(&self, armed: Armed) -> Result<()> {
        self.run.undo.disarm(armed)
    }

    /// Adds work for after the commit.
    ///
    /// # Errors
    /// When it can't be written as data.
    pub fn after_commit(&self, chore: impl StoredChore) -> Result<()> {
        let record = Record::of_chore(&chore)?;
        self.run.chores.lock().unwrap_or_else(PoisonError::into_inner).push((record, Arc::new(chore)));
        Ok(())
    }

    /// The run's counters.
    pub fn meters(&self) -> &Meters {
        &self.run.meters
    }

    /// Says that a stream flows from now on: bytes are to move until what is given is dropped. A run
    /// in which none do for long has stalled.
    pub fn flowing(&self) -> Flowing {
        self.run.meters.flowing()
    }

    /// Starts something that watches what the run relies on, until the run ends: its stages, its proof,
    /// or its failure. Where it fails, or panics, the stage at work is dropped and the run fails with its
    /// error. When the token is cancelled the run has ended: it ends by itself then, and soon.
    pub fn watch<F>(&self, watch: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let name = self.name().to_owned();
        self.run.watchers.start(watch, move |error| error.context(format!("watching for {name}")));
    }

    /// Notes something in the report.
    pub fn report(&self, note: impl FnOnce(&mut RunReport)) {
        self.run.note(note);
    }

    /// Resolves when the run is cancelled. A stage may end early then; it need not.
    pub async fn cancelled(&self) {
        self.run.cancel.cancelled().await;
    }

    /// Fails if the run is cancelled.
    ///
    /// # Errors
    /// [`Error::cancelled`].
    pub fn go_on(&self) -> Result<()> {
        if self.run.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}
