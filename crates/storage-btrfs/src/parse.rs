//! Everything that `btrfs` and the mount table print, read into types. Nothing else in this crate
//! looks at their words.

mod mounts;
mod said;
mod subvolumes;
mod tree;

pub(crate) use mounts::{Mounted, mounted};
pub(crate) use said::{hint, is_in_use};
pub(crate) use subvolumes::{Filesystem, Subvolume, filesystem};
pub(crate) use tree::{Root, roots};
