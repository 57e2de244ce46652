//! Send streams, read on their way: `btrfs send` writes a header and commands, each with a CRC32C,
//! the last of which says that the stream is whole. See `fs/btrfs/send.h` in the Linux kernel.
//!
//! Layout, all numbers little-endian: the magic `btrfs-stream\0` and a version (32 bits); then
//! commands: length of the payload (32), type (16), CRC32C (32) of the whole command with this field
//! zeroed, payload. A payload is attributes: type (16), length (16), value; from version 2 on the
//! attribute that holds file data has no length and goes on to the payload's end.

mod attributes;
mod plugin;
mod size;
mod verifier;
mod watch;

pub(crate) use size::size;
pub use verifier::{Broken, Expected, Seen, Verifier};
pub use watch::Whole;

#[cfg(test)]
mod tests;
