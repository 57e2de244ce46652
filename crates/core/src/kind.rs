//! What flows between stages, as types that are checked before anything runs.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The format of a storage's snapshots and send streams, for example the name of a file system.
///
/// Two stages fit only when they speak of the same format; the engine knows no format by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Format(Cow<'static, str>);

impl Format {
    /// A format by the name that its storage gives it.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A format by a name that a pipeline file gives it.
    pub fn named(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was done to a stream, for example compressed; undone in reverse order.
///
/// One that was asked for is done on the way, and a transport undoes it by itself. One that is done
/// already travels as it is, and only a stage that decodes it takes it off. Two of one name are equal.
#[derive(Debug, Clone, Eq)]
pub struct Encoding {
    name: Cow<'static, str>,
    done: bool,
}

impl Encoding {
    /// An encoding that was asked for, by the name of its codec.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), done: false }
    }

    /// An encoding that is done, by a name that a pipeline file gives it.
    pub fn done(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), done: true }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whether it is done, and not just asked for.
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Hash for Encoding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
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

impl StreamKind {
    /// A stream to which nothing was done.
    pub fn plain(format: Format) -> Self {
        Self { format, encodings: vec![] }
    }

    /// The encodings that were asked for and are not done: the outermost ones, that a transport does
    /// on one machine and undoes on the other.
    pub fn asked(&self) -> &[Encoding] {
        let done = self.encodings.iter().rposition(Encoding::is_done).map_or(0, |last| last + 1);
        &self.encodings[done..]
    }

    /// The same stream behind a transport.
    pub fn carried(mut self) -> Self {
        self.encodings.truncate(self.encodings.len() - self.asked().len());
        self
    }

    /// The same stream when all that was asked for is done.
    pub fn settled(mut self) -> Self {
        self.encodings.iter_mut().for_each(|encoding| encoding.done = true);
        self
    }
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
            Kind::Snapshot(format) => write!(f, "snapshot({})", format.as_str()),
            Kind::Stream(stream) => write!(f, "stream({stream})"),
            Kind::Staged(stream) => write!(f, "staged({stream})"),
            Kind::Dataset(format) => write!(f, "dataset({})", format.as_str()),
            Kind::Standby => f.write_str("standby"),
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.as_str())?;
        self.encodings.iter().try_for_each(|encoding| write!(f, "+{}", encoding.as_str()))
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

    #[test]
    fn a_transport_undoes_what_was_asked_for_and_leaves_what_is_done() {
        let encodings = ["a", "b"].map(Encoding::new).to_vec();
        let stream = StreamKind { format: Format::new("f"), encodings };
        assert_eq!(stream.clone().carried().to_string(), "f");
        let mut stream = stream.settled();
        stream.encodings.push(Encoding::done("gpg"));
        stream.encodings.push(Encoding::new("c"));
        assert_eq!(stream.asked(), [Encoding::new("c")]);
        assert_eq!(stream.carried().to_string(), "f+a+b+gpg");
    }
}
