//! What a journal tells of its run, taken together.

use std::path::Path;

use jiff::Timestamp;

use super::line::{Line, Sum};
use super::{Begin, Ended, Entry, Owner, StageState, Target, VERSION};
use crate::undo::Record;
use crate::{Error, Result};

/// A run as its journal tells it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Story {
    /// When it began.
    pub at: Timestamp,
    /// When the last entry was written.
    pub until: Timestamp,
    /// What it is.
    pub begin: Begin,
    /// Its stages, those of branches too, as they began.
    pub stages: Vec<StageLine>,
    /// The processes that worked on it: the one that ran it, and those that began to take it to its end.
    pub owners: Vec<Owner>,
    /// The targets that it held for itself.
    pub targets: Vec<Target>,
    /// How it ended; `None` where it has not, or died.
    pub ended: Option<Ended>,
    /// Whether its last line was cut short: the writer was killed, or the power went.
    pub torn: bool,
    armed: Vec<Left>,
    /// What has committed: a branch, or the run itself.
    committed: Vec<Option<String>>,
    chores: Vec<Record>,
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StageLine {
    /// Its name; of a branch's stage with the branch's name in front.
    pub stage: String,
    /// When it began.
    pub at: Timestamp,
    /// How far it got.
    pub state: StageState,
    /// How long it ran, if it has ended well.
    pub seconds: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Something that a run has left, or may have left.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Left {
    /// Its number in the run.
    pub id: u64,
    /// How it is taken back.
    pub undo: Record,
    /// Why it could not be, when that was last tried.
    pub error: Option<String>,
    /// The branch that did it; `None` where the run itself has.
    pub(super) stack: Option<String>,
    branch: Option<String>,
}

/// Where to go on writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) bytes: u64,
    pub(super) sum: Sum,
}

impl Story {
    /// Reads a journal. A last line that is cut short does not count.
    ///
    /// # Errors
    /// When a line before the last one is not what was written, when the journal is of a newer version,
    /// and when it does not begin as one.
    pub fn read(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::read_to_end(bytes, path).map(|(story, _)| story)
    }

    pub(super) fn read_to_end(bytes: &[u8], path: &Path) -> Result<(Self, End)> {
        let mut end = End { bytes: 0, sum: Sum::default() };
        let mut story: Option<Self> = None;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, text)) = lines.next() {
            let whole = text.strip_suffix(b"\n").and_then(|text| Line::read(text, end.sum));
            let Some((line, sum)) = whole else {
                let Some(story) = story.as_mut().filter(|_| lines.peek().is_none()) else {
                    return Err(damaged(path, number + 1));
                };
                story.torn = true;
                break;
            };
            end = End { bytes: end.bytes + text.len() as u64, sum };
            match (&mut story, line.entry) {
                (None, Entry::Begin(begin)) => story = Some(Self::begun(*begin, line.at, path)?),
                (None, _) => return Err(damaged(path, number + 1)),
                (Some(story), entry) => story.add(entry, line.at),
            }
        }
        story.map(|story| (story, end)).ok_or_else(|| damaged(path, 1))
    }

    fn begun(begin: Begin, at: Timestamp, path: &Path) -> Result<Self> {
        if begin.version > VERSION {
            let text = format!("{} was written by a newer reseed (version {})", path.display(), begin.version);
            return Err(Error::failed(text).hint("use that reseed, or a newer one"));
        }
        Ok(Self {
            at,
            until: at,
            owners: vec![begin.owner.clone()],
            begin,
            stages: vec![],
            targets: vec![],
            ended: None,
            torn: false,
            armed: vec![],
            committed: vec![],
            chores: vec![],
        })
    }

    pub(super) fn add(&mut self, entry: Entry, at: Timestamp) {
        self.until = at;
        match entry {
            // A second beginning tells nothing.
            Entry::Begin(_) => {}
            Entry::Stage { stage, state: StageState::Started, .. } => {
                let line = StageLine { stage, at, state: StageState::Started, seconds: None, error: None };
                self.stages.push(line);
            }
            Entry::Stage { stage, state, seconds, error } => {
                let begun = self.stages.iter_mut().rev().find(|line| line.stage == stage);
                if let Some(line) = begun {
                    (line.state, line.seconds, line.error) = (state, seconds, error);
                }
            }
            Entry::Armed { id, stack, branch, undo } => {
                self.armed.push(Left { id, undo, error: None, stack, branch });
            }
            Entry::Disarmed { id, also } => self.armed.retain(|left| left.id != id && !also.contains(&left.id)),
            Entry::Undone { id } => self.armed.retain(|left| left.id != id),
            Entry::Stuck { id, error } => {
                let stuck = self.armed.iter_mut().find(|left| left.id == id);
                stuck.into_iter().for_each(|left| left.error = Some(error.clone()));
            }
            Entry::Locked(target) => self.targets.push(target),
            Entry::Committed { stack, chores } => {
                self.committed.push(stack);
                self.chores.extend(chores);
            }
            Entry::Recovering { owner } => self.owners.push(owner),
            Entry::Forgotten => self.armed.clear(),
            Entry::Ended(ended) => self.ended = Some(ended),
        }
    }

    /// Whether it has committed, wholly or in one of its branches.
    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Whether somebody has still to take it to its end: it has none, or something of it is stuck.
    pub fn is_open(&self) -> bool {
        self.ended.is_none() || !self.left().is_empty()
    }

    /// What is left of it and to be taken back, in the order in which that is done: branches first, as
    /// the engine does. What a branch that has committed stands on is not left but stays.
    pub fn left(&self) -> Vec<Left> {
        let mut branches: Vec<_> = self.armed.iter().filter_map(Left::branch).collect();
        branches.dedup();
        let mut left = Vec::new();
        for branch in branches.into_iter().filter(|branch| !self.committed(branch)) {
            let add = |one: &&Left| one.branch() == Some(branch) && !left.contains(*one);
            let own = |one: &&Left| one.stack.is_some();
            let mine: Vec<_> = self.armed.iter().rev().filter(add).cloned().collect();
            left.extend(mine.iter().filter(own).cloned());
            left.extend(mine.iter().filter(|one| !own(one)).cloned());
        }
        if !self.has_committed() {
            left.extend(self.armed.iter().rev().filter(|one| one.branch().is_none()).cloned());
        }
        left
    }

    /// What is still to be done of a run that has committed and died.
    pub fn chores(&self) -> &[Record] {
        if self.ended.is_none() { &self.chores } else { &[] }
    }

    fn committed(&self, branch: &str) -> bool {
        self.committed.iter().any(|committed| committed.as_deref() == Some(branch))
    }
}

impl Left {
    /// The branch that did it, or for which alone it was done.
    fn branch(&self) -> Option<&str> {
        self.stack.as_deref().or(self.branch.as_deref())
    }
}

fn damaged(path: &Path, line: usize) -> Error {
    let (journal, run) = (path.display(), path.file_stem().unwrap_or_default().display());
    let hint = format!("mv {journal} {journal}.damaged; then: reseed recover --scan FILE --run {run}");
    Error::failed(format!("line {line} of the journal {} is not what was written", path.display())).hint(hint)
}
