//! The files of a store, reached part by part from its directory, so that no link leads out of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use reseed_core::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::fs::{fstat, fsync, linkat, mkdirat, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use crate::store::{Key, Object};

/// A directory of objects.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

/// A file that has no name of an object yet; it goes when this does.
struct Unnamed<'d> {
    directory: &'d OwnedFd,
    name: String,
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        // It has been renamed, or it is one more file that no listing shows.
        let _ = unlinkat(self.directory, &self.name, AtFlags::empty());
    }
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes an object, whether there is one or not.
    pub(super) fn replace(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.write(key, bytes, |unnamed, name| renameat(unnamed.directory, &unnamed.name, unnamed.directory, name))
    }

    /// Writes an object unless there is one.
    pub(super) fn create(&self, key: &Key, bytes: &[u8]) -> Result<bool> {
        let mut new = true;
        self.write(key, bytes, |unnamed, name| match name_new(unnamed, name) {
            Err(Errno::EXIST) => {
                new = false;
                Ok(())
            }
            named => named,
        })?;
        Ok(new)
    }

    fn write(&self, key: &Key, bytes: &[u8], give: impl FnOnce(&Unnamed<'_>, &str) -> Result<(), Errno>) -> Result<()> {
        let (above, name) = split(key);
        let written = || -> Result<(), Errno> {
            let directory = self.made(above)?;
            let unnamed = Unnamed { directory: &directory, name: temporary() };
            write_file(&unnamed, bytes)?;
            give(&unnamed, name)?;
            drop(unnamed);
            fsync(&directory)
        };
        written().map_err(|errno| self.told("write", key, errno))
    }

    /// The whole object.
    pub(super) fn read(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let read = self.opened(key).and_then(|file| file.map(read_whole).transpose());
        read.map_err(|errno| self.told("read", key, errno))
    }

    /// The size of an object.
    pub(super) fn size(&self, key: &Key) -> Result<Option<u64>> {
        let size = self.opened(key).and_then(|file| file.map(|file| length(&file)).transpose());
        size.map_err(|errno| self.told("look at", key, errno))
    }

    /// Every object whose name begins with this.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let (above, _) = prefix.rsplit_once('/').unwrap_or_default();
        let mut found = Vec::new();
        let listed = match self.directory(above) {
            Ok(directory) => walk(&directory, above, prefix, &mut found),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !above.is_empty() && self.root.is_dir() => Ok(()),
            Err(errno) => Err(errno),
        };
        listed.map_err(|errno| self.hinted(Error::failed(format!("can't list {}", self.root.display())), errno))?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object.
    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        let (above, name) = split(key);
        let removed = match self.directory(above) {
            Ok(directory) => match unlinkat(&directory, name, AtFlags::empty()) {
                // A directory is no object.
                Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
                removed => removed.and_then(|()| fsync(&directory)),
            },
            Err(Errno::NOENT | Errno::NOTDIR) if self.root.is_dir() => Ok(()),
            Err(errno) => Err(errno),
        };
        removed.map_err(|errno| self.told("delete", key, errno))
    }

    /// The file of an object, opened; `None` where there is none.
    fn opened(&self, key: &Key) -> Result<Option<File>, Errno> {
        let (above, name) = split(key);
        // Not to be held up by a pipe that somebody put there.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = self.directory(above).and_then(|directory| openat(&directory, name, flags, Mode::empty()));
        match opened {
            Ok(file) => {
                let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
                Ok(kind.is_file().then(|| File::from(file)))
            }
            // A link on the way is told as one, and not as an object that is not there.
            Err(Errno::NOTDIR) if self.has_link(above) => Err(Errno::LOOP),
            Err(Errno::NOENT | Errno::NOTDIR) if self.root.is_dir() => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn has_link(&self, above: &str) -> bool {
        let path = self.root.join(above);
        let below = path.ancestors().take_while(|path| *path != self.root);
        below.into_iter().any(Path::is_symlink)
    }

    /// A directory below the root, opened.
    fn directory(&self, below: &str) -> Result<OwnedFd, Errno> {
        let root = rustix::fs::open(&self.root, DIRECTORY, Mode::empty())?;
        below.split('/').filter(|part| !part.is_empty()).try_fold(root, |above, part| inside(&above, part))
    }

    /// A directory below the root, made where it is not there, and brought to the disk.
    fn made(&self, below: &str) -> Result<OwnedFd, Errno> {
        let root = rustix::fs::open(&self.root, DIRECTORY, Mode::empty())?;
        below.split('/').filter(|part| !part.is_empty()).try_fold(root, |above, part| {
            match mkdirat(&above, part, Mode::RWXU) {
                Ok(()) => fsync(&above)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            inside(&above, part)
        })
    }

    fn told(&self, doing: &str, key: &Key, errno: Errno) -> Error {
        self.hinted(Error::failed(format!("can't {doing} {key} in {}", self.root.display())), errno)
    }

    fn hinted(&self, error: Error, errno: Errno) -> Error {
        let root = self.root.display();
        let cause = io::Error::from(errno);
        if errno == Errno::NOENT && !self.root.exists() {
            let error = error.because("the directory of the repository is not there");
            return error.hint(format!("mount its disk, or make it: mkdir -p -m 700 {root}"));
        }
        match errno {
            Errno::LOOP => error.because("a symbolic link is in the way").hint(format!("find {root} -type l")),
            Errno::NOTDIR | Errno::ISDIR => {
                error.because("an object has the name of a directory here").hint(format!("find {root}"))
            }
            Errno::NOSPC | Errno::DQUOT => error.because(cause).hint(format!("df -h {root}")),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => error.because(cause).hint(format!("ls -ld {root}; id")),
            _ => error.because(cause),
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory in another, which is no link.
fn inside(above: &OwnedFd, part: &str) -> Result<OwnedFd, Errno> {
    openat(above, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// The directories of an object and its name in them.
fn split(key: &Key) -> (&str, &str) {
    key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()))
}

/// Gives a file its name unless something has it. Where the file system has no hard links, the
/// system's renaming that replaces nothing does the same.
fn name_new(unnamed: &Unnamed<'_>, name: &str) -> Result<(), Errno> {
    let directory = unnamed.directory;
    match linkat(directory, &unnamed.name, directory, name, AtFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
            renameat_with(directory, &unnamed.name, directory, name, RenameFlags::NOREPLACE)
        }
        named => named,
    }
}

/// A name that no object can have and no other writer has.
fn temporary() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!(".reseed-{}-{nanos}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn write_file(unnamed: &Unnamed<'_>, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(unnamed.directory, &unnamed.name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| errno(&error))
}

fn length(file: &File) -> Result<u64, Errno> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| errno(&error))
}

fn read_whole(mut file: File) -> Result<Vec<u8>, Errno> {
    let size = usize::try_from(length(&file)?).map_err(|_| Errno::FBIG)?;
    let mut bytes = Vec::with_capacity(size);
    file.read_to_end(&mut bytes).map_err(|error| errno(&error))?;
    Ok(bytes)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Adds the objects in a directory and below it. What goes meanwhile is left out.
fn walk(directory: &OwnedFd, path: &str, prefix: &str, found: &mut Vec<Object>) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        // Either may still lead to names that begin with the prefix.
        let fits = path.starts_with(prefix) || prefix.starts_with(&path);
        let Some(key) = Key::new(path).ok().filter(|_| fits) else { continue };
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => match inside(directory, name) {
                Err(Errno::NOENT) => {}
                below => walk(&below?, key.as_str(), prefix, found)?,
            },
            FileType::RegularFile if key.as_str().starts_with(prefix) => {
                let size = u64::try_from(stat.st_size).map_err(|_| Errno::IO)?;
                found.push(Object { key, size });
            }
            _ => {}
        }
    }
    Ok(())
}
