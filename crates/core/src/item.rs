//! What flows between stages at run time: one variant for each [`Kind`].

mod pending;
mod stream;

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use pending::{Pass, Pending};
pub use stream::{Body, Reach, Resume, Resuming, StreamHeader, StreamItem, Wrap};

use crate::host::Host;
use crate::names;
use crate::stage::StageCx;
use crate::stream::BoxStream;
use crate::undo::Armed;
use crate::{Error, Format, Kind, Result, StreamKind};

/// What one stage gives to the next, with the facts that travel along.
#[derive(Debug)]
pub struct Item {
    /// The thing itself.
    pub payload: Payload,
    /// What earlier stages know and later ones need, in a form that can be stored.
    pub facts: Facts,
}

impl Item {
    /// What every pipeline starts with.
    pub fn start() -> Self {
        Self { payload: Payload::Start, facts: Facts::default() }
    }

    /// The same facts with another payload.
    pub fn with(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }
}

/// The thing that flows.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing yet.
    Start,
    /// The source is ready; this must be in the snapshot.
    Quiesced(Vec<Piece>),
    /// Snapshots on the source.
    Snapshot(SnapshotSet),
    /// Streams in the order in which they must be received.
    Streams(Vec<StreamItem>),
    /// Streams that a repository, or a command, keeps.
    Staged(StreamKind),
    /// Received data.
    Dataset(Arc<dyn Volume>),
    /// A proven standby.
    Standby,
}

/// One directory of the source that belongs to what is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is, in the words of the program whose data it is.
    pub role: String,
    /// Its path on the source, links resolved.
    pub path: String,
    /// Whether its content must be in the copy. Where not, the target gets an empty one.
    pub content: bool,
}

/// What must be captured together: put on the [`Board`](crate::stage::Board) while surveying, by
/// the stage that knows the source's data. The first piece is the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(pub Vec<Piece>);

/// How the storage can capture what is [`Wanted`]: put on the board while surveying, by the stage
/// that takes the snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Whether one atomic snapshot can hold every piece.
    pub atomic: bool,
    /// Why, or why not, in words.
    pub reason: String,
    /// Roles of pieces that are datasets of their own, so that their content can be left out.
    pub separate: Vec<String>,
}

/// Snapshots that belong together.
#[derive(Debug, Clone)]
pub struct SnapshotSet {
    /// Where they are.
    pub host: Arc<dyn Host>,
    /// Their storage.
    pub format: Format,
    /// One for each dataset, parents before children.
    pub parts: Vec<SnapshotPart>,
    /// Datasets whose content stays behind; the target gets empty ones in their place.
    pub left_out: Vec<LeftOut>,
}

/// One snapshot of one dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The dataset on the source.
    pub dataset: String,
    /// Where the dataset is mounted on the source.
    pub mountpoint: String,
    /// The snapshot's name without the dataset.
    pub snapshot: String,
    /// The snapshot's identity, as a hex string, in the storage's own terms.
    pub guid: String,
    /// Whether it holds the first of the pieces, the one that reports speak of.
    pub main: bool,
}

impl SnapshotPart {
    /// Judges names that another machine or a repository gave, before they reach a command or a path.
    ///
    /// # Errors
    /// Which of them is none.
    pub fn check(&self) -> Result<()> {
        name("dataset", &self.dataset, names::wrong)?;
        // What is not there is empty: a snapshot that is not taken yet has no name, and what a command makes
        // is mounted nowhere.
        name("snapshot", &self.snapshot, |text| unless_empty(text, names::wrong_part))?;
        name("GUID", &self.guid, |text| unless_empty(text, names::wrong_part))?;
        name("mount point", &self.mountpoint, |text| unless_empty(text, wrong_place))
    }
}

impl LeftOut {
    /// As [`SnapshotPart::check`].
    ///
    /// # Errors
    /// Which of the names is none.
    pub fn check(&self) -> Result<()> {
        name("dataset", &self.dataset, names::wrong)?;
        name("mount point", &self.mountpoint, |text| unless_empty(text, wrong_place))
    }
}

/// A path, or the word of a storage that mounts nothing.
fn wrong_place(text: &str) -> Option<&'static str> {
    if text.starts_with('/') { names::wrong_path(text) } else { names::wrong(text) }
}

fn unless_empty(text: &str, wrong: fn(&str) -> Option<&'static str>) -> Option<&'static str> {
    if text.is_empty() { None } else { wrong(text) }
}

/// Fails for what is no name.
fn name(what: &str, text: &str, wrong: impl FnOnce(&str) -> Option<&'static str>) -> Result<()> {
    match wrong(text) {
        Some(why) => Err(Error::failed(format!("`{}` is no {what}: {why}", names::shown(text)))),
        None => Ok(()),
    }
}

/// A dataset that belongs to the layout but whose content is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The dataset on the source.
    pub dataset: String,
    /// Where it is mounted on the source.
    pub mountpoint: String,
}

/// A directory of the source and where it shall be on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path on the source.
    pub source: String,
    /// The path that it takes on the target.
    pub target: String,
}

/// Where everything goes on the target: put on the [`Board`](crate::stage::Board) while surveying,
/// by the stage that knows, for the storage that must make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(pub Vec<Place>);

/// How a storage keeps what it receives: put on the [`Board`](crate::stage::Board) while surveying, by
/// the stage that receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landing {
    /// Whether a block is never overwritten in place, so that a crash can't leave half of it new.
    pub copy_on_write: bool,
}

/// A copy that stays as it was received, so that nothing can run on it: put on the
/// [`Board`](crate::stage::Board) while surveying, by the stage that receives it, and taken off by the one
/// that makes of it what can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaysPristine {
    /// What helps a person who has left that stage out.
    pub hint: &'static str,
}

/// Where a copy goes, and what happens to what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Each directory of the source and its place on the target.
    pub places: Vec<Place>,
    /// How long what was there is kept; not at all after the commit where it is zero.
    pub keep_old: std::time::Duration,
}

/// Received data, and how its storage puts it into place.
///
/// The contract:
/// - `locate` answers at once, and what it names is mounted and writable.
/// - `take_place` arms an undo before each act; after every undo the target is as it was, mounted
///   where it was mounted.
/// - Nothing of what was there before is destroyed before the run commits.
#[async_trait]
pub trait Volume: Debug + Send + Sync {
    /// The machine that holds it.
    fn host(&self) -> Arc<dyn Host>;

    /// Where a directory of the source is found in the copy now.
    fn locate(&self, source: &str) -> Option<String>;

    /// Puts the copy where the live data is. What was there steps aside and is kept as asked.
    ///
    /// # Errors
    /// When the storage refuses; the engine then undoes what was armed.
    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()>;
}

/// Facts that travel with an item and can be stored: one value for each name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(serde_json::Map<String, serde_json::Value>);

/// What will be sent: put on the [`Board`](crate::stage::Board) while surveying, by the stage that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Whether something is sent whole.
    pub whole: bool,
    /// About how many bytes before encoding, where that is known.
    pub bytes: Option<u64>,
}

/// What a repository keeps of the source of the streams that it will give: put on the
/// [`Board`](crate::stage::Board) while surveying, for stages that can't ask the source.
#[derive(Debug, Clone)]
pub struct StagedFacts(pub Facts);

/// The undos of the snapshots that the streams are of: put on the [`Board`](crate::stage::Board) while
/// running, by the stage that took them. A stage that keeps the streams disarms them where a later run is to
/// go on with this one's.
#[derive(Debug, Clone)]
pub struct ArmedSnapshots(pub Vec<Armed>);

/// Of a chain of streams, what has arrived whole stays when the run fails later, so that the next goes on behind
/// it: put on the [`Board`](crate::stage::Board) while running, by the stage that gives the streams. The last of the
/// chain goes like everything else: what is made of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalsStay;

/// Files of the source that a copy needs and no snapshot holds: put on the
/// [`Board`](crate::stage::Board) while running, by the stage that knows the source's data for one that
/// keeps streams, and by one that gives kept streams for the stages behind it.
#[derive(Debug, Clone)]
pub struct FilesBeside(pub Vec<FileBeside>);

/// One file beside the streams.
#[derive(Clone)]
pub struct FileBeside {
    /// Its name, without a directory.
    pub name: String,
    /// Its bytes, from the beginning each time. Nothing starts before they are pulled.
    pub open: Arc<dyn Fn() -> BoxStream + Send + Sync>,
}

impl Debug for FileBeside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBeside").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A value that travels in [`Facts`].
pub trait Fact: Serialize + DeserializeOwned {
    /// The name under which it travels.
    const KEY: &'static str;
}

impl Facts {
    /// Adds a fact, replacing the one of its name.
    ///
    /// # Errors
    /// When it can't be represented as JSON.
    pub fn put<T: Fact>(&mut self, fact: &T) -> Result<()> {
        let value = serde_json::to_value(fact).map_err(|e| Error::failed("a fact can't be stored").because(e))?;
        self.0.insert(T::KEY.to_owned(), value);
        Ok(())
    }

    /// The fact of this type, if some stage put it.
    ///
    /// # Errors
    /// When a value of this name is there and has another shape.
    pub fn get<T: Fact>(&self) -> Result<Option<T>> {
        let Some(value) = self.0.get(T::KEY) else { return Ok(None) };
        let fact = serde_json::from_value(value.clone());
        fact.map(Some).map_err(|e| Error::failed(format!("the fact `{}` has another shape", T::KEY)).because(e))
    }
}

impl Payload {
    /// The kind of this payload.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Payload::Start => Some(Kind::Start),
            Payload::Quiesced(_) => Some(Kind::Quiesced),
            Payload::Snapshot(set) => Some(Kind::Snapshot(set.format.clone())),
            Payload::Streams(streams) => streams.first().map(|stream| Kind::Stream(stream.kind())),
            Payload::Staged(stream) => Some(Kind::Staged(stream.clone())),
            Payload::Dataset(_) => None,
            Payload::Standby => Some(Kind::Standby),
        }
    }
}
