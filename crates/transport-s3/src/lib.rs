//! The staged repository: streams cut into chunks with checksums, at rest in S3 or in a directory.
//!
//! The stages register themselves; a binary that wants them needs `use reseed_transport_s3 as _;`.

pub mod address;
pub mod repository;
pub mod store;

pub use repository::{RepositoryResource, open};
