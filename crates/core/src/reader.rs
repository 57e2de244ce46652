//! Readers of streams: what a storage's stream is, whether it is sound and whether it is whole, told from
//! its bytes alone as they pass.
//!
//! A storage registers a [`ReaderPlugin`](crate::registry::ReaderPlugin) for its format; what reads streams
//! without knowing storages finds it by [`registry::reader`](crate::registry::reader) or
//! [`registry::detect`](crate::registry::detect).

use std::fmt::{self, Debug};

use crate::Result;
use crate::stream::BoxStream;

/// Reads one stream as its bytes come, whatever pieces they come in. Its memory is bounded, however long
/// the stream is.
pub trait StreamReader: Debug + Send {
    /// Reads the next bytes. After damage was told nothing more may be pushed.
    ///
    /// # Errors
    /// When these bytes can't belong to a sound stream.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Damage>;

    /// Judges the end of the bytes.
    ///
    /// # Errors
    /// When the stream's own end did not come, or less came than it promised.
    fn finish(&mut self) -> Result<(), Damage>;

    /// What was seen so far.
    fn seen(&self) -> Seen;

    /// Bytes of the stream in front of the last place at which it can be cut without cutting one of its
    /// records; never more than were pushed.
    fn border(&self) -> u64;

    /// The last place, never behind [`border`](Self::border), at which the stream can be gone on with; `None`
    /// before there is one, and of a format whose streams can't be.
    fn place(&self) -> Option<Place> {
        None
    }
}

/// A place in a stream, between two of its records, at which a source can go on that was interrupted, and a
/// receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes of the stream in front of it.
    pub offset: u64,
    /// How the stream begins, in the storage's own words: the same at every place of a stream.
    pub head: String,
    /// What is known at this place, in the storage's own words.
    pub state: String,
}

/// What a format knows of streams that are gone on with at a [`Place`].
pub trait Resumption: Sync {
    /// A reader of what follows a place.
    ///
    /// # Errors
    /// When no stream of this format has such a place.
    fn reader(&self, place: &Place) -> Result<Box<dyn StreamReader>>;

    /// Whether a receiver that goes on as `token` says has all that is in front of a place of this stream.
    fn leads_to(&self, place: &Place, token: &str) -> bool;

    /// What such a receiver takes, made of the bytes that follow the place.
    ///
    /// # Errors
    /// When no stream of this format has such a place, or the token is none.
    fn rest(&self, place: &Place, token: &str, stream: BoxStream) -> Result<BoxStream>;
}

/// What was seen of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Identity of what the increment starts from; `None` for a whole.
    pub from_guid: Option<String>,
    /// Identity of what is sent; of the last one where several are.
    pub to_guid: Option<String>,
    /// What is sent, as its source calls it.
    pub name: Option<String>,
    /// Bytes that were pushed.
    pub bytes: u64,
    /// How many records of each type, by the names that the storage's own tools use, in their order.
    pub records: Vec<(&'static str, u64)>,
    /// What else people may want to know, each with what it is.
    pub notes: Vec<(&'static str, String)>,
}

/// What kind of damage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// It is no stream of this format at all.
    Foreign,
    /// It ends before its own end, or without all that it promises.
    Cut,
    /// It is not what was sent, or goes on after its own end.
    Altered,
}

/// Why a stream can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Of what kind it is.
    pub kind: DamageKind,
    /// Number of the record at which it was noticed, from 1.
    pub record: u64,
    /// Where that record begins in the stream, in bytes; where the stream ends for one that is cut.
    pub offset: u64,
    /// What is wrong, with number and place.
    pub text: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Damage {}
