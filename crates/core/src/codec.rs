//! Codecs: what can be done to a stream on one machine and undone on another.

mod frame;
mod zstd;

use std::fmt::Debug;

pub use frame::{Framed, frame};
pub use zstd::Zstd;

use crate::Encoding;
use crate::host::Command;
use crate::stream::BoxStream;

/// Something that can be done to a stream and undone, here or by a standard program elsewhere.
///
/// The contract: what `decode` gives for what `encode` gave is the same bytes, and the same end: a
/// stream cut at any byte decodes to an error and never to a clean end. A decoder gives an error,
/// and no clean end, for bytes after the end of what was encoded.
pub trait Codec: Debug + Send + Sync {
    /// The name on the stack of encodings.
    fn encoding(&self) -> Encoding;
    /// The name and parameters, as [`crate::registry::codec`] reads them: `zstd:3`.
    fn spec(&self) -> String;
    /// Encodes in this process.
    fn encode(&self, stream: BoxStream) -> BoxStream;
    /// Decodes in this process.
    fn decode(&self, stream: BoxStream) -> BoxStream;
    /// The standard program that encodes, where there is one.
    fn encoder(&self) -> Option<Command>;
    /// The standard program that decodes, where there is one.
    fn decoder(&self) -> Option<Command>;
}
