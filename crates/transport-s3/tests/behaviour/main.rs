//! One suite for every store: a directory, and a bucket of a real server.

mod suite;

#[cfg(feature = "s3")]
mod faults;
#[cfg(feature = "s3")]
mod proxy;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod wishes;

use std::sync::Arc;

use reseed_transport_s3::store::FileStore;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    suite::holds(Arc::new(FileStore::new(directory.path()))).await;
}
