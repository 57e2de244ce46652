//! Throw-away pools, sshd, PostgreSQL and S3 servers, for the demo and the tests of reseed.
//!
//! Everything that a [`Lab`] makes lies in one temporary directory and is ended and removed when the
//! lab is dropped, and also when the process that made it is killed: a small guard process, started
//! first, waits for the lab's end and then cleans up. See [`Guard`].
//!
//! The parts are real: ZFS pools in files and btrfs on loop devices, an sshd on a high port of 127.0.0.1, PostgreSQL
//! servers under load, SeaweedFS as an S3 server.

mod btrfs;
mod error;
mod guard;
mod load;
mod majors;
mod pair;
mod parts;
mod pool;
mod process;
mod recipe;
mod seaweed;
mod server;
mod sshd;
mod staged;
mod zfs;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use btrfs::Btrfs;
pub use error::{LabError, Result};
pub use guard::Guard;
pub use load::Load;
pub use majors::{Major, installed_majors};
pub use pair::{Pair, PairOptions, Spread};
pub use parts::{Part, is_root, missing_parts};
pub use pool::{Pool, Storage};
pub use process::{Tool, User};
pub use recipe::{Recipe, Seat, Switch};
pub use seaweed::Seaweed;
pub use server::{PrimaryOptions, REPLICATOR, Server};
pub use sshd::{FarPath, Sshd};
pub use staged::{Aim, Repository, repository_in_bucket, repository_in_directory};
pub use zfs::Zfs;

/// A directory for throw-away parts and the guard that removes them.
#[derive(Debug)]
pub struct Lab {
    directory: PathBuf,
    guard: Arc<Guard>,
}

impl Lab {
    /// An empty lab in the system's directory for temporary files.
    ///
    /// # Errors
    /// When the directory can't be made or the guard can't be started.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("reseed-lab-").tempdir();
        let directory = directory.map_err(LabError::io("making the lab's directory"))?.keep();
        // Servers run as another user and must get through.
        process::set_mode(&directory, 0o755)?;
        let guard = Arc::new(Guard::watch(&directory)?);
        Ok(Self { directory, guard })
    }

    /// The lab's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path in the lab's directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    /// What cleans up after the lab.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Leaves everything as it is, also after the end of this process, and gives the script that
    /// removes it.
    ///
    /// # Errors
    /// When the script can't be written.
    pub fn keep(self) -> Result<PathBuf> {
        self.guard.keep(&self.directory)
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LabError::io("looking for a free port"))?;
    let address = listener.local_addr().map_err(LabError::io("looking for a free port"))?;
    Ok(address.port())
}
