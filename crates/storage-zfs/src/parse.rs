//! Everything that `zfs` prints, read into types. Nothing else in this crate looks at its words.

mod allow;
mod features;
mod listing;
mod mounts;
mod said;

pub(crate) use allow::Rights;
pub(crate) use features::Features;
pub(crate) use listing::{Filesystem, Property, Snapshot, estimate, filesystems, properties, snapshots};
pub(crate) use mounts::{Mount, Mounts, below};
pub(crate) use said::Said;
