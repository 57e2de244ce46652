//! The staged repository: streams cut into chunks with checksums, at rest in S3 or in a directory.
//!
//! - [`store`] keeps objects: in S3, or in a directory.
//! - [`mod@format`] says what the objects of a repository are; `docs/format.md` says it to people.
//! - [`chunks`] turns streams into objects and back; [`chain`] orders what was stored, and [`verify`]
//!   tells what of it can be restored.
//! - [`prune`] removes what is not kept.
//! - [`uploads`] are puts that are under way, or were interrupted.
//! - [`seal`] holds keys: chunks may be encrypted, and manifests signed.
//!
//! What registers itself needs `use reseed_transport_s3 as _;` in a binary that wants it.

pub mod address;
pub mod chain;
pub mod chunks;
pub mod format;
mod get;
pub mod prune;
mod put;
pub mod repository;
pub mod seal;
pub mod store;
#[cfg(test)]
mod testing;
pub mod uploads;
pub mod verify;

pub use repository::{RepositoryResource, open};
