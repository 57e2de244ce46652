//! ZFS for reseed: snapshot, send, receive and clone as stages.
//!
//! The stages register themselves; a binary that wants them needs `use reseed_storage_zfs as _;`.
//!
//! - Everything that `zfs` prints is read in `parse`; everything that it is asked or told goes
//!   through `zfs::Zfs`, which takes no name that ZFS would not take.
//! - Snapshots are told by their GUIDs, never by their names.
//! - The received datasets stay pristine: read-only, never mounted, never run on. What runs is a
//!   clone, or, in place, the dataset itself while its predecessor stands aside.

mod aside;
mod check;
mod clone;
mod fresh;
mod guard;
mod leftovers;
mod made;
mod name;
mod parse;
mod partial;
mod place;
mod prune;
mod receive;
mod send;
mod several;
mod shared;
mod snapshot;
pub mod stream;
#[cfg(feature = "testkit")]
pub mod testkit;
mod undo;
mod zfs;

use reseed_storage::{layout, mapping};

pub use shared::FORMAT;
