//! Takes a run that died to its end.

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::settle::settle;
use super::{Damaged, Dead, DeadRun, Ended, Entry, Journal, Left, Owner, Reach, StateDirectory, Story};
use crate::config::Resources;
use crate::engine::{Locks, in_time, perform_all, undo_one};
use crate::event::{Event, Observer};
use crate::report::Outcome;
use crate::undo::Chore;
use crate::{Error, Result};

/// What became of a run that had died.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Recovery {
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// `done` where it had committed, `undone` where it was taken back, `stuck` where something of it
    /// could not be.
    pub outcome: Outcome,
    /// What was taken back.
    pub undone: Vec<String>,
    /// What could not be, in the order in which to type it.
    pub stuck: Vec<Stuck>,
}

/// Something that could not be taken back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stuck {
    /// What should have been done.
    pub undo: String,
    /// Why it could not.
    pub error: String,
    /// The command that a person would type.
    pub by_hand: String,
}

/// Takes a run that died to its end: back, where it had not committed; else its chores are done. Safe to
/// be killed at any point, and to be done again. What the process that died, or one that was killed while it
/// did this, has still at work is awaited first, lest a late act undoes the undo. What the run had locked is
/// locked meanwhile; where another run works on it, or has since, nothing is touched and all is told as stuck.
/// `stop` gives up; then the rest is told as stuck.
///
/// # Errors
/// When its begin or its end can't be written down; everything else is in the outcome.
pub async fn recover(run: DeadRun, observer: &Arc<dyn Observer>, stop: &CancellationToken) -> Result<Recovery> {
    let DeadRun { mut story, journal } = run;
    observer.on(&Event::RecoverStarted { run: story.begin.run.clone(), pipeline: story.begin.pipeline.clone() });
    journal.write(&Entry::Recovering { owner: Owner::this() })?;
    let locks = Locks::default();
    let resources = resources(&story);
    settle(&story, resources.as_ref().ok(), observer, stop).await;
    let resources = match resources {
        Ok(resources) => match locks.again(&story.begin.run, &story.targets, &resources).await {
            Ok(()) => commit_what_stands(&mut story, &journal, &resources, stop).await.map(|()| resources),
            Err(error) => Err(error),
        },
        unreadable => unreadable,
    };
    let mut recovery = Recovery {
        run: story.begin.run.clone(),
        pipeline: story.begin.pipeline.clone(),
        outcome: if story.has_committed() { Outcome::Done } else { Outcome::Undone },
        undone: vec![],
        stuck: vec![],
    };
    for left in story.left() {
        match take_back(&left, &resources, stop).await {
            Ok(()) => {
                observer.on(&Event::Undone { undo: left.undo.does.clone() });
                journal.write(&Entry::Undone { id: left.id })?;
                recovery.undone.push(left.undo.does);
            }
            Err(error) => {
                let (undo, by_hand, error) = (left.undo.does, left.undo.by_hand, error.chain());
                observer.on(&Event::Stuck { undo: undo.clone(), error: error.clone(), by_hand: by_hand.clone() });
                journal.write(&Entry::Stuck { id: left.id, error: error.clone() })?;
                recovery.stuck.push(Stuck { undo, error, by_hand });
            }
        }
    }
    if !recovery.stuck.is_empty() {
        recovery.outcome = Outcome::Stuck;
    }
    perform_all(chores(&story, &resources, observer), observer).await;
    locks.release(recovery.outcome != Outcome::Stuck).await;
    let exit_code = if recovery.outcome == Outcome::Stuck { 4 } else { 0 };
    journal.write(&Entry::Ended(Ended { outcome: recovery.outcome, exit_code, report: None }))?;
    observer.on(&Event::Recovered(recovery.clone()));
    Ok(recovery)
}

/// What became of all that was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Swept {
    /// The runs that were wanted.
    pub taken: Vec<Taken>,
    /// The ids of those that were not.
    pub passed: Vec<String>,
    /// Journals that can't be made out: they are left as they are.
    pub damaged: Vec<Damaged>,
}

/// A run that was to be taken to its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct Taken {
    /// The run's id.
    pub run: String,
    /// What it worked on.
    pub reach: Reach,
    /// What became of it; an error where that could not be written down.
    pub end: Result<Recovery>,
}

impl StateDirectory {
    /// Takes every run that died and is `wanted` to its end, the oldest first, those that are stuck as
    /// well. What becomes of one keeps no other from it, nor does a journal that can't be made out.
    ///
    /// # Errors
    /// As [`dead`](Self::dead).
    pub async fn recover(
        &self,
        wanted: impl Fn(&Story) -> bool,
        observer: &Arc<dyn Observer>,
        stop: &CancellationToken,
    ) -> Result<Swept> {
        let Dead { runs, damaged } = self.dead()?;
        let mut swept = Swept { taken: vec![], passed: vec![], damaged };
        for dead in runs {
            let (run, reach) = (dead.story.begin.run.clone(), Reach::of(&dead.story));
            match wanted(&dead.story) {
                true => swept.taken.push(Taken { run, reach, end: recover(dead, observer, stop).await }),
                false => swept.passed.push(run),
            }
        }
        Ok(swept)
    }
}

/// The resources of the run's pipeline file as it was. One that can't be built is missed only by what
/// needs it.
fn resources(story: &Story) -> Result<Resources> {
    Resources::read(&story.begin.file, &story.begin.set).map_err(|problems| {
        let told: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
        Error::failed(format!("can't make out the run's pipeline file: {}", told.join("; ")))
    })
}

/// Writes down that a run, or a branch of it, has committed whose work [stands](crate::undo::Undo::stands): it died
/// before it could do so itself. Its chores it has told nobody; a later run does its own.
async fn commit_what_stands(
    story: &mut Story,
    journal: &dyn Journal,
    resources: &Resources,
    stop: &CancellationToken,
) -> Result<()> {
    for left in story.left().into_iter().filter(|left| left.undo.decides) {
        let undo = left.undo.revive(resources)?;
        if in_time(undo.as_ref(), undo.stands(), stop).await? {
            let entry = Entry::Committed { stack: left.stack.clone(), chores: vec![] };
            journal.write(&entry)?;
            story.add(entry, story.until);
        }
    }
    Ok(())
}

async fn take_back(left: &Left, resources: &Result<Resources>, stop: &CancellationToken) -> Result<()> {
    let resources = resources.as_ref().map_err(|error| Error::failed(error.chain()))?;
    undo_one(left.undo.revive(resources)?.as_ref(), stop).await
}

fn chores(story: &Story, resources: &Result<Resources>, observer: &Arc<dyn Observer>) -> Vec<Arc<dyn Chore>> {
    let mut chores = Vec::new();
    for record in story.chores() {
        let resources = resources.as_ref().map_err(|error| Error::failed(error.chain()));
        match resources.and_then(|resources| record.revive_chore(resources)) {
            Ok(chore) => chores.push(chore),
            Err(error) => {
                let text = format!("{}: {}", record.does, error.chain());
                observer.on(&Event::Warning { stage: None, text });
            }
        }
    }
    chores
}
