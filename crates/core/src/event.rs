//! What a run tells those who watch it. The library never prints.

use serde::Serialize;

use crate::journal::Recovery;
use crate::report::{BranchReport, Round, RunReport};

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A run begins: checks first.
    #[serde(rename = "run.started")]
    RunStarted {
        /// The run's id.
        run: String,
        /// The pipeline's name.
        pipeline: String,
        /// Names of the stages in order.
        stages: Vec<String>,
    },
    /// A stage found something out, or wants something known.
    #[serde(rename = "stage.note")]
    Note {
        /// Position of the stage, from 0.
        index: usize,
        /// Its name.
        stage: String,
        /// One line.
        text: String,
    },
    /// Something that is not wrong but should be looked at.
    #[serde(rename = "warning")]
    Warning {
        /// The stage that warns, if it is one.
        stage: Option<String>,
        /// One line.
        text: String,
    },
    /// A check refuses; nothing has been touched. There may be several.
    #[serde(rename = "check.refused")]
    Refused {
        /// Position of the stage, from 0.
        index: usize,
        /// Its name.
        stage: String,
        /// Why, with its causes.
        error: String,
        /// What would mend it.
        hint: Option<String>,
    },
    /// All checks passed.
    #[serde(rename = "run.checked")]
    Checked,
    /// A stage begins to run.
    #[serde(rename = "stage.started")]
    StageStarted {
        /// Position of the stage, from 0.
        index: usize,
        /// Its name.
        stage: String,
    },
    /// Bytes move.
    #[serde(rename = "progress")]
    Progress(Progress),
    /// A stage is done; a stage that gives a lazy stream is done before any byte moves.
    #[serde(rename = "stage.finished")]
    StageFinished {
        /// Position of the stage, from 0.
        index: usize,
        /// Its name.
        stage: String,
        /// How long it ran.
        seconds: f64,
    },
    /// A stage failed; what was done is taken back now.
    #[serde(rename = "stage.failed")]
    StageFailed {
        /// Position of the stage, from 0.
        index: usize,
        /// Its name.
        stage: String,
        /// Why, with its causes.
        error: String,
    },
    /// A run that died is taken to its end, by another process or by the next run.
    #[serde(rename = "recover.started")]
    RecoverStarted {
        /// The run's id.
        run: String,
        /// The pipeline's name.
        pipeline: String,
    },
    /// What became of a run that had died.
    #[serde(rename = "recover.finished")]
    Recovered(Recovery),
    /// An act was taken back.
    #[serde(rename = "undo.done")]
    Undone {
        /// What was done to take it back.
        undo: String,
    },
    /// An act could not be taken back.
    #[serde(rename = "undo.stuck")]
    Stuck {
        /// What should have been done.
        undo: String,
        /// Why it could not.
        error: String,
        /// The command that a person would type.
        by_hand: String,
    },
    /// Work after the commit was done.
    #[serde(rename = "chore.done")]
    Chore {
        /// What was done.
        text: String,
    },
    /// A round before the run proper is done: what it brought stays. The next round, or the run itself,
    /// begins with a `run.started` of its own.
    #[serde(rename = "round.finished")]
    Approached(Round),
    /// A branch has ended: it has committed, or what it did is taken back.
    #[serde(rename = "branch.finished")]
    BranchFinished(BranchReport),
    /// The end; always the last event of a run.
    #[serde(rename = "run.finished")]
    RunFinished(Box<RunReport>),
}

impl Event {
    /// Makes it one of a branch: its name in front, and the position of the stage that parts.
    pub(crate) fn of_branch(&mut self, branch: &str, at: usize) {
        let stage = match self {
            Event::Note { stage, index, .. }
            | Event::Refused { stage, index, .. }
            | Event::StageStarted { stage, index }
            | Event::StageFinished { stage, index, .. }
            | Event::StageFailed { stage, index, .. } => {
                *index = at;
                stage
            }
            Event::Warning { stage: Some(stage), .. } => stage,
            Event::Warning { stage, .. } => {
                *stage = Some(branch.to_owned());
                return;
            }
            Event::Undone { undo } | Event::Stuck { undo, .. } => undo,
            Event::Chore { text } => text,
            Event::RunStarted { .. }
            | Event::Checked
            | Event::RecoverStarted { .. }
            | Event::Recovered(_)
            | Event::Progress(_)
            | Event::Approached(_)
            | Event::BranchFinished(_)
            | Event::RunFinished(_) => return,
        };
        stage.insert_str(0, &format!("{branch}: "));
    }
}

/// How far the streams are. Counts are of the whole run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes before encoding.
    pub stream_bytes: u64,
    /// Bytes that crossed the wire.
    pub wire_bytes: u64,
    /// Estimate of all `stream_bytes` of the run; `None` where the storage gives none.
    pub estimate: Option<u64>,
    /// Nanoseconds waited for the sending side.
    pub wire_wait: u64,
    /// Nanoseconds waited for the stream after decoding; holds `wire_wait` where there is a wire.
    pub stream_wait: u64,
    /// Nanoseconds waited for the receiver.
    pub sink_wait: u64,
}

/// Someone who watches a run. Called in order, from any thread; must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Observer for Blind {
    fn on(&self, _event: &Event) {}
}
