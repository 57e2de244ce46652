//! The directory in which the journals of all runs are kept.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::{FLAGS, UNSEEN, wrong};
use super::line::Line;
use super::{Begin, Entry, FileJournal, Journal, Journals, Owner, Reach, Story, VERSION};
use crate::{Error, Result};

/// The directory of the journals.
const RUNS: &str = "runs";
/// What the name of a journal ends with.
const ENDS: &str = "jsonl";
/// How old a journal that nobody has seen must be before it is taken for what a crash left.
const YOUNG: Duration = Duration::from_secs(3600);

/// A directory that outlives this process and the next boot. What is in it is done by those who recover,
/// so it is used only where nobody else can write.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
}

/// A pipeline file as it is written into a journal, to be there when the file is not.
#[derive(Debug, Clone)]
pub struct Written {
    /// Where.
    pub state: StateDirectory,
    /// Path of the file as it was given; for people.
    pub path: String,
    /// The file's text.
    pub file: String,
    /// What fills its variables.
    pub set: BTreeMap<String, String>,
}

/// A run that nobody is at work on, held by whoever has this.
#[derive(Debug)]
pub struct DeadRun {
    /// What its journal tells.
    pub story: Story,
    /// Its journal.
    pub journal: FileJournal,
}

/// A journal that can't be made out: nothing is taken back on its word.
#[derive(Debug)]
#[non_exhaustive]
pub struct Damaged {
    /// The run's id, by the name of the journal.
    pub run: String,
    /// What is wrong with it.
    pub error: Error,
    /// What the run worked on, as far as single lines tell.
    pub reach: Reach,
}

/// The runs that nobody is at work on and that are not at their end.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Dead {
    /// Those that can be taken to their end, the oldest first.
    pub runs: Vec<DeadRun>,
    /// The journals that can't be made out.
    pub damaged: Vec<Damaged>,
}

impl Damaged {
    fn of(path: &Path, error: Error) -> Self {
        let run = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = see(path).ok().flatten().and_then(|mut file| bytes(&mut file, path).ok());
        let lines = bytes.as_deref().map(Line::alone).unwrap_or_default();
        let begin = lines.iter().find_map(|line| match &line.entry {
            Entry::Begin(begin) => Some(&**begin),
            _ => None,
        });
        let target = |line: &Line| match &line.entry {
            Entry::Locked(target) => Some(target.clone()),
            _ => None,
        };
        let targets: Vec<_> = lines.iter().filter_map(target).collect();
        Self { run, error, reach: Reach::told(begin, &targets) }
    }
}

/// A journal that was found.
#[derive(Debug)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Whether its run is alive.
    pub live: bool,
    /// What it tells; an error where it is not what was written.
    pub story: Result<Story>,
}

impl StateDirectory {
    /// The directory of this path. It need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is without being told: `$RESEED_STATE_DIR`; else `/var/lib/reseed/state` for root, and
    /// `$XDG_STATE_HOME/reseed` or `~/.local/state/reseed` for others.
    ///
    /// # Errors
    /// When none of these is known.
    pub fn standard() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = || rustix::process::geteuid().is_root().then(|| PathBuf::from("/var/lib/reseed/state"));
        let path = set("RESEED_STATE_DIR").or_else(root);
        let path = path.or_else(|| Some(set("XDG_STATE_HOME")?.join("reseed")));
        let path = path.or_else(|| Some(set("HOME")?.join(".local/state/reseed")));
        let unknown =
            || Error::refused("there is no place for the state of runs").hint("export RESEED_STATE_DIR=/path");
        path.map(Self::at).ok_or_else(unknown)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn runs(&self) -> PathBuf {
        self.path.join(RUNS)
    }

    /// Makes it, where it is not there, and sees that it is this user's alone.
    fn make(&self) -> Result<()> {
        let runs = self.runs();
        let missing: Vec<_> = runs.ancestors().take_while(|directory| !directory.exists()).collect();
        // What is above it is not only this user's: copies may be mounted there.
        let above = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let made = above.and_then(|()| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&runs));
        made.map_err(|error| wrong(&runs, error))?;
        for directory in missing {
            let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let synced = File::open(above).and_then(|above| above.sync_all());
            synced.map_err(|error| wrong(directory, error))?;
        }
        for directory in [&self.path, &runs] {
            must_be_own(directory, &directory.metadata().map_err(|error| wrong(directory, error))?)?;
        }
        Ok(())
    }

    /// Every journal, the oldest first; none where the directory is not there.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn found(&self) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        for path in self.journals()? {
            all.extend(look(path));
        }
        // The ids of runs that began within one second are in no order.
        all.sort_by_key(|found| found.story.as_ref().map(|story| story.at).unwrap_or_default());
        Ok(all)
    }

    /// Every run that nobody is at work on and that is not at its end. Each is held until it is dropped.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn dead(&self) -> Result<Dead> {
        let mut dead = Dead::default();
        for path in self.journals()? {
            // Only what may be dead is held: nobody shall take what has ended for alive.
            let opened = match read(&path) {
                Ok(story) if !story.is_open() => Ok(None),
                Ok(_) => open(&path),
                // It is damaged, or has just gone, or its run is alive and has to do with it.
                Err(error) => match FileJournal::lock(&path) {
                    Ok(None) => Ok(None),
                    _ => Err(error),
                },
            };
            match opened {
                Ok(run) => dead.runs.extend(run.filter(|run| run.story.is_open())),
                Err(error) if path.exists() => dead.damaged.push(Damaged::of(&path, error)),
                Err(_) => {}
            }
        }
        dead.runs.sort_by_key(|run| run.story.at);
        Ok(dead)
    }

    /// Whether there is a journal of this run, whatever it tells.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn knows(&self, run: &str) -> Result<bool> {
        Ok(self.journals()?.iter().any(|path| path.file_stem().is_some_and(|stem| stem == run)))
    }

    /// The run of this id, held, if it is dead.
    ///
    /// # Errors
    /// When there is none, when it is alive, and when its journal can't be made out.
    pub fn dead_run(&self, run: &str) -> Result<DeadRun> {
        let known = self.journals()?;
        let path = known.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == run));
        let none = || Error::refused(format!("there is no run {run} in {}", self.path.display())).hint("reseed status");
        let alive =
            || Error::refused(format!("the run {run} is alive")).hint("end it first: reseed status tells its process");
        open(&path.ok_or_else(none)?)?.ok_or_else(alive)
    }

    /// Removes the journals of runs that ended longer ago than this and left nothing.
    ///
    /// # Errors
    /// When one can't be removed.
    pub fn prune(&self, keep: Duration) -> Result<()> {
        let oldest = jiff::Timestamp::now().checked_sub(keep).unwrap_or(jiff::Timestamp::MIN);
        let is_over = |story: &Story| !story.is_open() && story.until < oldest;
        for path in self.journals()? {
            // One that can't be made out is somebody's to look at, and not in the way here.
            if read(&path).is_ok_and(|story| is_over(&story))
                && open(&path).is_ok_and(|run| run.is_some_and(|run| is_over(&run.story)))
            {
                std::fs::remove_file(&path).map_err(|error| wrong(&path, error))?;
            }
        }
        for path in self.with_ending(UNSEEN)? {
            // One that is being begun is young, and held.
            let is_young =
                |is: &std::fs::Metadata| is.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < YOUNG));
            let held = FileJournal::lock(&path);
            if path.metadata().is_ok_and(|is| !is_young(&is)) && !matches!(held, Ok(None)) {
                std::fs::remove_file(&path).map_err(|error| wrong(&path, error))?;
            }
        }
        Ok(())
    }

    fn journals(&self) -> Result<Vec<PathBuf>> {
        self.with_ending(ENDS)
    }

    fn with_ending(&self, ending: &str) -> Result<Vec<PathBuf>> {
        let runs = self.runs();
        let entries = match std::fs::read_dir(&runs) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(|error| wrong(&runs, error))?,
        };
        for directory in [&self.path, &runs] {
            must_be_own(directory, &directory.metadata().map_err(|error| wrong(directory, error))?)?;
        }
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|error| wrong(&runs, error))?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == ending));
        paths.sort();
        Ok(paths)
    }
}

impl Journals for Written {
    fn begin(&self, run: &str, pipeline: &str) -> Result<Arc<dyn Journal>> {
        self.state.make()?;
        let begin = Begin {
            version: VERSION,
            run: run.to_owned(),
            pipeline: pipeline.to_owned(),
            owner: Owner::this(),
            path: self.path.clone(),
            file: self.file.clone(),
            set: self.set.clone(),
        };
        let path = self.state.runs().join(format!("{run}.{ENDS}"));
        Ok(Arc::new(FileJournal::create(&path, &Entry::Begin(Box::new(begin)))?))
    }

    fn has_ended(&self, run: &str) -> bool {
        let found = self.state.found().unwrap_or_default();
        found.iter().any(|one| one.story.as_ref().is_ok_and(|story| story.begin.run == run && !story.is_open()))
    }
}

/// What is told of a journal whether or not its run is alive; `None` where it has gone meanwhile.
fn look(path: PathBuf) -> Option<Found> {
    let seen = see(&path).transpose()?;
    let live = seen.as_ref().is_ok_and(FileJournal::is_held);
    let story = seen.and_then(|mut file| bytes(&mut file, &path)).and_then(|bytes| Story::read(&bytes, &path));
    Some(Found { path, live, story })
}

/// What a journal tells at this moment. Nothing is held for it.
fn read(path: &Path) -> Result<Story> {
    let gone = || wrong(path, std::io::ErrorKind::NotFound.into());
    let mut file = see(path)?.ok_or_else(gone)?;
    Story::read(&bytes(&mut file, path)?, path)
}

/// Opens a journal for reading; `None` where there is none.
fn see(path: &Path) -> Result<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(FLAGS.bits() as i32).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some).map_err(|error| wrong(path, error)),
    }
}

/// Holds a run; `None` while it is alive.
fn open(path: &Path) -> Result<Option<DeadRun>> {
    let Some(mut file) = FileJournal::lock(path)? else { return Ok(None) };
    let bytes = bytes(&mut file, path)?;
    let (story, end) = Story::read_to_end(&bytes, path)?;
    let journal = FileJournal::go_on(file, path, end.bytes, end.sum)?;
    Ok(Some(DeadRun { story, journal }))
}

fn bytes(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    let attributes = file.metadata().map_err(|error| wrong(path, error))?;
    if !attributes.is_file() {
        return Err(wrong(path, std::io::Error::other("it is no file")));
    }
    must_be_own(path, &attributes)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| wrong(path, error))?;
    Ok(bytes)
}

/// Refuses what another user could have written: it is done by those who recover.
fn must_be_own(path: &Path, attributes: &std::fs::Metadata) -> Result<()> {
    let me = rustix::process::geteuid().as_raw();
    if [me, 0].contains(&attributes.uid()) && attributes.mode() & 0o022 == 0 {
        return Ok(());
    }
    let text = format!("others than this user can write to {}", path.display());
    Err(Error::refused(text).hint(format!("see what is in it, then: chmod go-w {}", path.display())))
}
