//! What a journal tells.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Owner;
use crate::report::Outcome;
use crate::undo::Record;

/// One entry of a journal, in the order in which things happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Entry {
    /// Always the first one: which run it is, and all that is needed to take it back.
    Begin(Box<Begin>),
    /// A stage began or ended.
    Stage {
        /// Its name; of a branch's stage with the branch's name in front.
        stage: String,
        /// What it did.
        state: StageState,
        /// How long it ran, once it has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// An act is about to be done, and this takes it back.
    Armed {
        /// Its number in this run.
        id: u64,
        /// The branch that does it; `None` where the run itself does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stack: Option<String>,
        /// The branch for which alone the run itself does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// How it is taken back.
        undo: Record,
    },
    /// An act was taken back, or made good, in the normal course.
    Disarmed {
        /// The number under which it was armed.
        id: u64,
        /// The numbers of those that were made good with it: all of them, or none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<u64>,
    },
    /// What the run is about to lock for itself, for as long as it lasts.
    Locked(Target),
    /// The run, or a branch, has done what it is for and proved it. Nothing of it is taken back any more.
    Committed {
        /// The branch; `None` where it is the run itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stack: Option<String>,
        /// What is still to be done.
        chores: Vec<Record>,
    },
    /// An act was taken back after a failure.
    Undone {
        /// The number under which it was armed.
        id: u64,
    },
    /// An act could not be taken back.
    Stuck {
        /// The number under which it was armed.
        id: u64,
        /// Why.
        error: String,
    },
    /// Another process begins to take the run to its end.
    Recovering {
        /// Which one.
        owner: Owner,
    },
    /// A person said that they have seen to whatever was left.
    Forgotten,
    /// The run has ended, or another process has taken it to its end.
    Ended(Ended),
}

/// The first entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// Version of the journal's format.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The process that runs it.
    pub owner: Owner,
    /// Path of the pipeline file as it was given; for people.
    pub path: String,
    /// The pipeline file's text.
    pub file: String,
    /// What its variables were filled with.
    pub set: BTreeMap<String, String>,
}

/// What only one run may work on at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the host that it is on, in the run's pipeline file.
    pub host: String,
    /// What sort of thing it is, for example `dataset`.
    pub what: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.what, self.name, self.host)
    }
}

/// What a stage did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// It began.
    Started,
    /// It is done.
    Finished,
    /// It failed.
    Failed,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended for the machines.
    pub outcome: Outcome,
    /// Its exit code.
    pub exit_code: u8,
    /// Its report, as in its last event; `None` where another process has taken it to its end.
    pub report: Option<Value>,
}
