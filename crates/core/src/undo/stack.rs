//! Everything that is armed in one run, last in first out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Record, StoredUndo, Undo};
use crate::Result;
use crate::journal::{Book, Entry};

/// The name of one armed undo, by which it is disarmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armed(pub(crate) u64);

/// One armed undo.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name.
    pub armed: Armed,
    /// The branch for which alone the act was done.
    pub branch: Option<String>,
    /// How the act is taken back.
    pub undo: Arc<dyn Undo>,
}

/// Everything that is armed in one run, or in one branch of it, last in first out. The one place where
/// undos are kept, and the one that writes of them in the journal.
#[derive(Debug, Default)]
pub struct UndoStack {
    book: Book,
    /// The branch whose stack it is.
    of: Option<String>,
    armed: Mutex<Vec<Held>>,
}

impl UndoStack {
    /// A stack that is written down in this book: of a run, or of this branch of it.
    pub(crate) fn new(book: Book, of: Option<&str>) -> Self {
        Self { book, of: of.map(str::to_owned), armed: Mutex::default() }
    }

    /// The book in which it is written down.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Arms the undo of an act, which may be done for one branch alone. Call this before the act: when it
    /// returns, the undo is on disk.
    ///
    /// # Errors
    /// When it can't be written down; the act must not be done then.
    pub fn arm(&self, branch: Option<&str>, undo: impl StoredUndo) -> Result<Armed> {
        let mut armed = self.lock();
        let record = Record::of(&undo)?;
        let id = self.book.next_id();
        let branch = branch.map(str::to_owned);
        self.book.write(&Entry::Armed { id, stack: self.of.clone(), branch: branch.clone(), undo: record })?;
        armed.push(Held { armed: Armed(id), branch, undo: Arc::new(undo) });
        Ok(Armed(id))
    }

    /// Forgets an undo whose act has been taken back, or made good, in the normal course.
    ///
    /// # Errors
    /// When that can't be written down; it stays armed then.
    pub fn disarm(&self, armed: Armed) -> Result<()> {
        self.disarm_all(&[armed])
    }

    /// Forgets several acts at once: a crash leaves all of them armed, or none.
    ///
    /// # Errors
    /// When that can't be written down; they stay armed then.
    pub fn disarm_all(&self, these: &[Armed]) -> Result<()> {
        let Some((first, rest)) = these.split_first() else { return Ok(()) };
        let mut all = self.lock();
        self.book.write(&Entry::Disarmed { id: first.0, also: rest.iter().map(|armed| armed.0).collect() })?;
        all.retain(|held| !these.contains(&held.armed));
        Ok(())
    }

    /// Forgets everything: the run has committed, and these chores are to follow.
    ///
    /// # Errors
    /// When that can't be written down; then it has not committed.
    pub fn commit(&self, chores: Vec<Record>) -> Result<()> {
        let mut all = self.lock();
        self.book.write(&Entry::Committed { stack: self.of.clone(), chores })?;
        all.clear();
        Ok(())
    }

    /// Forgets an undo that has been done.
    ///
    /// # Errors
    /// When that can't be written down; doing it again would do no harm.
    pub fn undone(&self, done: Armed) -> Result<()> {
        self.lock().retain(|held| held.armed != done);
        self.book.write(&Entry::Undone { id: done.0 })
    }

    /// Notes that an undo could not be done. It stays armed.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn stuck(&self, armed: Armed, error: &str) -> Result<()> {
        self.book.write(&Entry::Stuck { id: armed.0, error: error.to_owned() })
    }

    /// What is armed, for whomever, the last first.
    pub fn armed(&self) -> Vec<Held> {
        self.armed_for(None)
    }

    /// What is armed for one branch alone, or for whomever, the last first.
    pub fn armed_for(&self, branch: Option<&str>) -> Vec<Held> {
        let wanted = |held: &&Held| branch.is_none() || held.branch.as_deref() == branch;
        self.lock().iter().rev().filter(wanted).cloned().collect()
    }

    /// Forgets what was armed for one branch alone: it was taken back, or can't be. In the journal it
    /// stays what it is.
    pub fn disown(&self, branch: &str) {
        self.lock().retain(|held| held.branch.as_deref() != Some(branch));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
