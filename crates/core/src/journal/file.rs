//! A journal in a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::line::{Line, Sum};
use super::{Entry, Journal};
use crate::{Error, Result};

/// A journal in a file: JSON lines, each synced before the next act. Whoever has it open for writing
/// holds the lock on it, and with that the run.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Where the last whole line ends.
    end: u64,
    sum: Sum,
    /// Whether something may stand behind `end` that could not be removed.
    broken: bool,
}

/// What the name of a journal ends with until it is seen.
pub(super) const UNSEEN: &str = "new";
/// How long somebody may look whether a journal is held.
const LOOKS: Duration = Duration::from_secs(5);

/// No link is followed, and nobody waits for the other end of a pipe that bears the name of a journal.
pub(super) const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);

impl FileJournal {
    /// Begins a journal under a name that nothing has. It has its first entry and is locked from the
    /// moment when it can be seen.
    pub(super) fn create(path: &Path, begin: &Entry) -> Result<Self> {
        let unseen = path.with_extension(UNSEEN);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&unseen);
        let file = file.map_err(|error| wrong(&unseen, error))?;
        let owned = Self::own(file, path);
        let shown = owned.and_then(|journal| journal.write(begin).map(|()| journal));
        let shown = shown.and_then(|journal| show(&unseen, path).map(|()| journal));
        if shown.is_err() {
            let _ = std::fs::remove_file(&unseen);
        }
        shown
    }

    /// Opens a file for going on behind `end`; `None` while its run is alive.
    pub(super) fn lock(path: &Path) -> Result<Option<File>> {
        let file = OpenOptions::new().read(true).append(true).custom_flags(FLAGS.bits() as i32).open(path);
        let file = file.map_err(|error| wrong(path, error))?;
        match hold(&file) {
            Ok(true) => Ok(Some(file)),
            Ok(false) => Ok(None),
            Err(error) => Err(wrong(path, error)),
        }
    }

    /// Whether somebody holds an open file. To look takes a lock that others share, for a moment.
    pub(super) fn is_held(file: &File) -> bool {
        let held = flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
        let _ = flock(file, FlockOperation::NonBlockingUnlock);
        held
    }

    /// Goes on with a locked file: behind its last whole line.
    pub(super) fn go_on(file: File, path: &Path, end: u64, sum: Sum) -> Result<Self> {
        // Every journal is opened before every run: one that is whole is left as it is.
        let cut = |length: u64| if length == end { Ok(()) } else { file.set_len(end).and_then(|()| file.sync_all()) };
        file.metadata().and_then(|is| cut(is.len())).map_err(|error| wrong(path, error))?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { file, end, sum, broken: false }) })
    }

    fn own(file: File, path: &Path) -> Result<Self> {
        if !hold(&file).map_err(|error| wrong(path, error))? {
            return Err(wrong(path, Errno::WOULDBLOCK.into()));
        }
        let inner = Inner { file, end: 0, sum: Sum::default(), broken: false };
        Ok(Self { path: path.to_owned(), inner: Mutex::new(inner) })
    }
}

impl Journal for FileJournal {
    fn write(&self, entry: &Entry) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(entry).map_err(|error| wrong(&self.path, error))
    }
}

impl Inner {
    fn write(&mut self, entry: &Entry) -> std::io::Result<()> {
        if self.broken {
            return Err(std::io::Error::other("an earlier entry was cut short"));
        }
        let line = Line { at: jiff::Timestamp::now(), entry: entry.clone() };
        let (mut text, sum) = line.write(self.sum)?;
        text.push('\n');
        if let Err(error) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // What is there of it must not stand in front of a later entry, nor be taken for a whole one.
            self.broken = self.file.set_len(self.end).and_then(|()| self.file.sync_data()).is_err();
            return Err(error);
        }
        self.end += text.len() as u64;
        self.sum = sum;
        Ok(())
    }
}

/// Holds a file for itself, unless somebody else does. Whoever only looks is waited for.
fn hold(file: &File) -> std::io::Result<bool> {
    let begun = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if FileJournal::is_held(file) => return Ok(false),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < LOOKS => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the file its name, durably.
fn show(unseen: &Path, path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let named = std::fs::rename(unseen, path).and_then(|()| File::open(directory)?.sync_all());
    named.map_err(|error| wrong(path, error))
}

pub(super) fn wrong(path: &Path, error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            format!("make room: df -h {}", path.parent().unwrap_or(path).display())
        }
        _ => "RESEED_STATE_DIR=/path names another directory for the state of runs".to_owned(),
    };
    Error::failed(format!("the journal {}: {error}", path.display())).hint(hint)
}
