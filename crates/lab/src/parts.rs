//! What a lab needs of the machine.

use crate::process::which;
use crate::{Major, Storage};

/// Something that a lab needs and the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub what: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
}

/// What every storage needs that is sent by one machine to another.
const PROGRAMS: [(&str, &str); 5] = [
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("zstd", "zstd"),
    ("flock", "util-linux"),
];

/// Programs of one storage.
fn programs(storage: Storage) -> Vec<(&'static str, &'static str)> {
    let own: &[_] = match storage {
        Storage::Zfs => &[("zpool", "zfs-fuse")],
        Storage::Btrfs => &[("btrfs", "btrfs-progs"), ("mkfs.btrfs", "btrfs-progs")],
        Storage::Directories => return vec![("tar", "tar")],
    };
    own.iter().copied().chain(PROGRAMS).collect()
}

/// Everything that is missing here for a lab with this storage and PostgreSQL.
pub fn missing_parts(storage: Storage) -> Vec<Part> {
    let absent = programs(storage).into_iter().filter(|(program, _)| which(program).is_none());
    let mut missing: Vec<_> = absent.map(|(what, package)| Part { what, package }).collect();
    if Major::newest().is_err() {
        missing.push(Part { what: "PostgreSQL", package: "postgresql" });
    }
    missing
}

/// Whether this process may make pools and run servers as other users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
