//! How a run ended.

use serde::{Deserialize, Serialize};

/// How a run ended for the machines that it touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did what it was for, and proved it.
    Done,
    /// It did not, and everything is as it was.
    Undone,
    /// Something could not be taken back; the report says what.
    Stuck,
}

/// What a command that a pipeline file names said on standard error, although it ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Said {
    /// Position of the stage, from 0.
    pub index: usize,
    /// Its name.
    pub stage: String,
    /// Its last lines.
    pub text: String,
}

impl Said {
    /// The same as one of a branch: its name in front, and the position of the stage that parts.
    pub(crate) fn of_branch(self, branch: &str, at: usize) -> Self {
        Self { index: at, stage: format!("{branch}: {}", self.stage), text: self.text }
    }
}

/// The SHA-256 of a stream at one place of its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamHash {
    /// Position of the stage that saw it, from 0.
    pub index: usize,
    /// The dataset that the stream is of.
    pub dataset: String,
    /// Identity of the snapshot at whose state its receiver arrives.
    pub to_guid: String,
    /// The SHA-256, in hex.
    pub sha256: String,
}

/// A round before the run proper: what it brought stays, whatever becomes of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Round {
    /// Its own id, which its snapshots bear.
    pub run: String,
    /// Whether the main dataset was sent whole.
    pub full: bool,
    /// Bytes of its streams before encoding.
    pub stream_bytes: u64,
    /// Identity of the main snapshot that was received.
    pub to_guid: Option<String>,
}

impl Round {
    /// What of it stays when the run is taken back.
    pub(crate) fn stays(&self) -> String {
        let to = self.to_guid.as_ref().map(|guid| format!(" (snapshot {guid})"));
        format!("what the round {} brought{}", self.run, to.unwrap_or_default())
    }
}

/// The report of a run, and the content of its last event.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took in all.
    pub seconds: f64,
    /// How long the target did not serve; `None` if it never stopped, or did not serve before.
    pub downtime_seconds: Option<f64>,
    /// `false` where a standby was asked only to serve, and was not seen to follow anyone; not in the last
    /// event otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// Bytes of all streams before encoding.
    pub stream_bytes: u64,
    /// Bytes that crossed a wire.
    pub wire_bytes: u64,
    /// Whether the main dataset was sent whole and not as an increment.
    pub full: bool,
    /// Identity of the snapshot that the main increment started from.
    pub from_guid: Option<String>,
    /// Identity of the main snapshot that was received.
    pub to_guid: Option<String>,
    /// Rounds before the run; not in the last event where there were none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
    /// What commands said that the pipeline file names; not in the last event where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// SHA-256 of streams, where a stage took them; not in the last event where none did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<StreamHash>,
    /// Why it did not do what it was for, with the causes.
    pub error: Option<String>,
    /// How each branch ended, where the run had branches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<BranchReport>,
    /// What a person can do about the error.
    #[serde(skip)]
    pub hint: Option<String>,
    /// Whether a check refused, so that nothing was touched.
    #[serde(skip)]
    pub refused: bool,
    /// Whether it was cancelled from outside.
    #[serde(skip)]
    pub cancelled: bool,
    /// Commands that would take back what could not be taken back.
    #[serde(skip)]
    pub by_hand: Vec<String>,
}

/// How one branch of a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BranchReport {
    /// Its name.
    pub branch: String,
    /// How it ended.
    pub outcome: Outcome,
    /// See [`RunReport::downtime_seconds`].
    pub downtime_seconds: Option<f64>,
    /// See [`RunReport::full`].
    pub full: bool,
    /// See [`RunReport::from_guid`].
    pub from_guid: Option<String>,
    /// See [`RunReport::to_guid`].
    pub to_guid: Option<String>,
    /// Why it did not do what it was for, with the causes.
    pub error: Option<String>,
}

impl BranchReport {
    pub(crate) fn new(branch: &str, outcome: Outcome, run: &RunReport, error: Option<String>) -> Self {
        Self {
            branch: branch.to_owned(),
            outcome,
            downtime_seconds: run.downtime_seconds,
            full: run.full,
            from_guid: run.from_guid.clone(),
            to_guid: run.to_guid.clone(),
            error,
        }
    }
}

impl RunReport {
    /// Adds a branch. What the run reports of one target it reports of the first branch that is done;
    /// the downtime is the longest of all.
    pub(crate) fn add(&mut self, branch: BranchReport) {
        if branch.outcome == Outcome::Done && self.branches.iter().all(|other| other.outcome != Outcome::Done) {
            self.full = branch.full;
            self.from_guid.clone_from(&branch.from_guid);
            self.to_guid.clone_from(&branch.to_guid);
        }
        let longest = [self.downtime_seconds, branch.downtime_seconds].into_iter().flatten().reduce(f64::max);
        self.downtime_seconds = longest;
        self.branches.push(branch);
    }

    /// A report of a run that has not done anything yet.
    pub fn new(run: impl Into<String>, pipeline: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            pipeline: pipeline.into(),
            outcome: Outcome::Undone,
            seconds: 0.0,
            downtime_seconds: None,
            streaming: None,
            stream_bytes: 0,
            wire_bytes: 0,
            full: false,
            from_guid: None,
            to_guid: None,
            rounds: vec![],
            said: vec![],
            hashes: vec![],
            error: None,
            branches: vec![],
            hint: None,
            refused: false,
            cancelled: false,
            by_hand: vec![],
        }
    }

    /// The exit code that this end has by convention: 0 done, 1 undone, 3 refused by a check,
    /// 4 stuck, 130 cancelled. (2 is a call or a file that is wrong: then there is no run.)
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Done => 0,
            Outcome::Stuck => 4,
            Outcome::Undone if self.cancelled => 130,
            Outcome::Undone if self.refused => 3,
            Outcome::Undone => 1,
        }
    }
}
