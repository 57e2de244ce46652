//! Send streams, read as they pass: what `zfs send` writes, from the first record to the last.
//!
//! A stream is a sequence of records. Each has a head of 312 bytes: type (32 bits), length of the list
//! behind a BEGIN (32 bits), 272 bytes that depend on the type, and the Fletcher-4 checksum (4 × 64 bits)
//! of everything in front of it since the last END, payloads too. Behind the head comes the payload,
//! whose length follows from the head. Numbers are in the byte order of the machine that sends; the
//! magic of the first record tells which. See `struct dmu_replay_record` in OpenZFS
//! (`include/sys/zfs_ioctl.h`).
//!
//! - A plain stream is BEGIN … END. END repeats the checksum of all that came before it.
//! - A compound stream (`-R`, `-I`, `-p`) is BEGIN with a list of what will come, END, then plain streams,
//!   and an END that is nothing but zeros.
//! - Old versions of ZFS, before 2014, give records no checksum: there, only END tells.
//!
//! Nothing here needs ZFS, and no more of a stream is kept than one head and the list of a BEGIN.

mod broken;
mod fletcher;
mod join;
mod nvlist;
mod parser;
mod place;
mod plugin;
mod promised;
mod reader;
mod record;
mod rest;
pub mod token;
mod watch;

pub use broken::Broken;
pub use fletcher::{Fletcher, Order};
pub use join::Join;
pub use nvlist::{List, Value};
pub use parser::{Event, Parser};
pub(crate) use place::Spot;
pub use reader::{Expected, Reader, Resumable, Seen};
pub use record::{Begin, Body, Extent, Features, HEAD, NAMES, Record};
pub(crate) use rest::Joined;
pub use watch::Whole;

#[cfg(test)]
mod tests;
