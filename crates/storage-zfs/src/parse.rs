//! Everything that `zfs` prints, read into types. Nothing else in this crate looks at its words.

mod allow;
mod features;
mod listing;
mod said;
mod token;

pub(crate) use allow::Rights;
pub(crate) use features::Features;
pub(crate) use listing::{Filesystem, Property, Snapshot, estimate, filesystems, properties, snapshots};
pub(crate) use reseed_storage::{Mounts, below};
pub(crate) use said::Said;
pub(crate) use token::Token;

/// Types under which mount tables list ZFS, in the kernel or in user space.
pub(crate) const KINDS: &[&str] = &["zfs", "fuse.zfs"];
