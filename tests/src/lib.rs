//! What the tests on real parts share: running pipelines in this process, breaking them on purpose,
//! and judging what they leave.

#[cfg(feature = "openzfs")]
mod bare;
pub mod canned;
pub mod fault;
pub mod ground;
pub mod judge;
pub mod mortal;
pub mod proxy;
pub mod run;
pub mod scene;
pub mod state;
#[cfg(feature = "openzfs")]
pub mod vms;
pub mod watch;
pub mod way;

// Linked for their plugins alone: without these lines nothing of them would register.
use reseed_pg as _;
use reseed_storage_btrfs as _;
use reseed_storage_dir as _;
use reseed_storage_zfs as _;
use reseed_transport_s3 as _;
use reseed_transport_ssh as _;

use std::path::PathBuf;

use reseed_lab::{Major, Seaweed, Storage, is_root, missing_parts};

/// Whether this machine has all parts. Where it has not, the test says `skipped: why` and returns;
/// in CI, where nothing may be skipped, it fails.
pub fn ready() -> bool {
    ready_for(Storage::Zfs)
}

/// As [`ready`], for another storage.
pub fn ready_for(storage: Storage) -> bool {
    let missing = missing_parts(storage);
    let names: Vec<_> = missing.iter().map(|part| part.what).collect();
    match names.is_empty() && is_root() {
        true => true,
        false => skip(&format!("needs root and: {}", names.join(", "))),
    }
}

/// PostgreSQL of this version, if the machine has it; where not, as [`ready`].
pub fn version(number: u32) -> Option<Major> {
    if !ready() {
        return None;
    }
    match Major::numbered(number) {
        Ok(major) => Some(major),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

/// Whether there is an S3 server for tests; where there is none, as [`ready`].
pub fn has_s3_server() -> bool {
    Seaweed::missing().is_none() || skip("needs SeaweedFS: make seaweedfs")
}

fn skip(why: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "nothing may be skipped in CI: {why}");
    println!("skipped: {why}");
    false
}

/// The `reseed` program of this build.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let binary = test.ancestors().nth(2).map(|built| built.join("reseed")).unwrap_or_default();
    assert!(binary.is_file(), "{} is not built: cargo build --bin reseed", binary.display());
    binary
}
