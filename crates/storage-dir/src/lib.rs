//! Plain directories for reseed: base backups received beside the live data, on any file system.
//!
//! The stage registers itself; a binary that wants it needs `use reseed_storage_dir as _;`.
//!
//! - Everything lies in one directory of reseed's own, the *store*, on the file system of the live
//!   data directory: backups as they came, the copy that is to run, what was live before. See `store`.
//! - Backups as they came stay pristine: what runs is put together from them, or, where no increment
//!   will ever follow, is the one backup itself.
//! - The switch is by renames. A directory is told by its inode, never by its name.

mod chain;
mod old;
mod receive;
mod store;
mod undo;
mod volume;
