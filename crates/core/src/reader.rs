//! Readers of streams: what a storage's stream is, whether it is sound and whether it is whole, told from
//! its bytes alone as they pass.
//!
//! A storage registers a [`ReaderPlugin`](crate::registry::ReaderPlugin) for its format; what reads streams
//! without knowing storages finds it by [`registry::reader`](crate::registry::reader) or
//! [`registry::detect`](crate::registry::detect).

use std::fmt::{self, Debug};

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
