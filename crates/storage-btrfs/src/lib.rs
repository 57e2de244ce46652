//! btrfs for reseed: snapshot, send, receive and clone as stages.
//!
//! The stages register themselves; a binary that wants them needs `use reseed_storage_btrfs as _;`.
//!
//! - A volume is a subvolume, called by the path under which it is seen on its machine.
//! - Snapshots are told by identity: the received UUID where there is one, else the UUID, as the
//!   kernel does. Names and places are only where things are put.
//! - What `btrfs` prints is read in `parse`. What it sends is read in [`stream`] on its way: every
//!   command's checksum, what it says it is, and that it came to its own end.
//! - The received subvolumes stay pristine: read-only, never run on. What runs is a writable snapshot.

mod aside;
mod btrfs;
mod check;
mod clone;
mod guard;
mod leftovers;
mod parse;
mod prune;
mod receive;
mod send;
mod shared;
mod snapshot;
pub mod stream;
mod table;
#[cfg(feature = "testkit")]
pub mod testkit;
mod undo;

pub use shared::FORMAT;
