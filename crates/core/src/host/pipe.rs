//! The pipes of a process.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe::{Receiver, Sender};

/// The standard input of a process.
pub trait Inlet: AsyncWrite + Send + Sync + Unpin {
    /// The kernel's pipe behind it, where nothing lies between.
    fn as_pipe(&self) -> Option<&Sender> {
        None
    }
}

/// The standard output of a process.
pub trait Outlet: AsyncRead + Send + Sync + Unpin {
    /// The kernel's pipe behind it, where nothing lies between.
    fn as_pipe(&self) -> Option<&Receiver> {
        None
    }
}

impl Inlet for Sender {
    fn as_pipe(&self) -> Option<&Sender> {
        Some(self)
    }
}

impl Outlet for Receiver {
    fn as_pipe(&self) -> Option<&Receiver> {
        Some(self)
    }
}

/// Bytes asked for each pipe; Linux gives 64 KiB by default.
const PIPE: usize = 1024 * 1024;

/// Makes a pipe hold more, so that its two ends wait less for each other.
#[cfg(target_os = "linux")]
pub fn widen(pipe: &impl std::os::fd::AsFd) {
    // Best effort: the kernel may refuse beyond /proc/sys/fs/pipe-user-pages-soft.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
}

/// Makes a pipe hold more, so that its two ends wait less for each other; not on this system.
#[cfg(not(target_os = "linux"))]
pub fn widen(_pipe: &impl std::os::fd::AsFd) {}
