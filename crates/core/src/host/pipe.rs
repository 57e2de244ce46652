//! The pipes of a process, and how bytes go from one to another without passing this process's memory.

use std::io;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::stream::Spliced;

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

/// Moves what lies in `from` to `to`, waiting until there is something and room for it.
///
/// # Errors
/// When `from` can't be read; what is wrong with `to` is told by [`Spliced::Refused`].
#[cfg(target_os = "linux")]
pub(super) async fn splice(from: &Receiver, to: &Sender) -> io::Result<Spliced> {
    use rustix::pipe::{SpliceFlags, splice};

    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    let mut sink_wait = std::time::Duration::ZERO;
    loop {
        from.readable().await?;
        let asked = Instant::now();
        if let Err(error) = to.writable().await {
            return Ok(Spliced::Refused(error));
        }
        sink_wait += asked.elapsed();
        match splice(from, None, to, None, PIPE, flags) {
            Ok(0) => return Ok(Spliced::End),
            Ok(bytes) => return Ok(Spliced::Moved { bytes: bytes as u64, sink_wait }),
            Err(rustix::io::Errno::AGAIN) => {
                // One of the two is not ready. Only that one's readiness may be forgotten: the
                // other would not be told again.
                let _ = from.try_io(|| ready(from, PollFlags::IN));
                let _ = to.try_io(|| ready(to, PollFlags::OUT));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error @ rustix::io::Errno::PIPE) => return Ok(Spliced::Refused(error.into())),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Other systems have no `splice`.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub(super) async fn splice(_from: &Receiver, _to: &Sender) -> io::Result<Spliced> {
    Ok(Spliced::Unable)
}

/// Fails with `WouldBlock` unless the pipe is ready now (an end that was closed is ready).
#[cfg(target_os = "linux")]
fn ready(pipe: &impl std::os::fd::AsFd, wanted: PollFlags) -> io::Result<()> {
    let mut fds = [PollFd::new(pipe, wanted)];
    match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}
