//! What flows between stages, as types that are checked before anything runs.

use std::fmt;

/// The format of a storage's snapshots and send streams, for example the name of a file system.
///
/// Two stages fit only when they speak of the same format; the engine knows no format by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Format(&'static str);

impl Format {
    /// A format by the name that its storage gives it.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

/// What was done to a stream, for example compressed; undone in reverse order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encoding(&'static str);

impl Encoding {
    /// An encoding by the name of its codec.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name of the codec.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

/// A stream's format and the encodings on top of it, the last one outermost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamKind {
    /// What is inside.
    pub format: Format,
    /// What was done to it, in order.
    pub encodings: Vec<Encoding>,
}

/// What a stage takes and gives. A pipeline is a fold over kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing yet: every pipeline begins here.
    Start,
    /// The source is ready for a snapshot.
    Quiesced,
    /// Snapshots on the source.
    Snapshot(Format),
    /// A sequence of lazy byte streams.
    Stream(StreamKind),
    /// Streams at rest in a repository.
    Staged(StreamKind),
    /// Received data on the target, with its volume.
    Dataset(Format),
    /// A server that is proven to follow its source.
    Standby,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Start => f.write_str("start"),
            Kind::Quiesced => f.write_str("quiesced"),
            Kind::Snapshot(format) => write!(f, "snapshot({})", format.0),
            Kind::Stream(stream) => write!(f, "stream({stream})"),
            Kind::Staged(stream) => write!(f, "staged({stream})"),
            Kind::Dataset(format) => write!(f, "dataset({})", format.0),
            Kind::Standby => f.write_str("standby"),
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.0)?;
        self.encodings.iter().try_for_each(|encoding| write!(f, "+{}", encoding.0))
    }
}

/// Why a stage can't follow the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What the stage takes, in words.
    pub takes: String,
    /// What it was given.
    pub given: Kind,
    /// What would help.
    pub hint: Option<String>,
    /// What the stage would have given, so that the fold can go on and report every mismatch.
    pub gives: Kind,
}

impl Mismatch {
    /// A stage that takes `takes` was given `given` and would have given `gives`.
    pub fn new(takes: impl Into<String>, given: &Kind, gives: Kind) -> Box<Self> {
        Box::new(Self { takes: takes.into(), given: given.clone(), hint: None, gives })
    }

    /// Adds what would help.
    pub fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_as_what_it_is() {
        let stream = StreamKind { format: Format::new("f"), encodings: vec![Encoding::new("a"), Encoding::new("b")] };
        assert_eq!(Kind::Stream(stream).to_string(), "stream(f+a+b)");
    }
}
