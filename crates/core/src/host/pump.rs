//! From one pipe to another inside the kernel, by a thread of its own.
//!
//! A source that is as fast as a pipe wakes its reader with every write, and on few cores each wake
//! takes time from the source and the sink. So the thread lets bytes gather for a moment and then
//! moves them all by one `splice`, which copies nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use tokio::sync::oneshot;

use crate::stream::{Meter, Tap};

/// How long bytes may gather. A pipe holds 1 MiB, which the fastest source fills in about half a
/// millisecond.
const GATHER: Duration = Duration::from_micros(100);
/// How soon the thread sees that nobody waits for it any more.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// More than any pipe holds.
const ALL: usize = 1 << 30;

/// How the bytes of a pipe came to their end.
#[derive(Debug)]
pub(super) enum Pumped {
    /// Every byte was moved.
    All,
    /// They can't be read.
    Unreadable(io::Error),
    /// The other pipe takes no more.
    Refused(io::Error),
}

/// Moves everything from the tap to the pipe. To drop the future is to stop.
///
/// # Errors
/// When the thread can't be started.
pub(super) async fn pump(tap: Tap, to: OwnedFd, sink: Arc<Meter>) -> io::Result<Pumped> {
    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let (told, end) = oneshot::channel();
    let pump = Pump { tap, to, sink, stop: Arc::clone(&stop.0) };
    std::thread::Builder::new().name("pump".to_owned()).spawn(move || told.send(pump.run()))?;
    end.await.map_err(|_| io::Error::other("the pump's thread ended without a word"))
}

struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Pump {
    tap: Tap,
    to: OwnedFd,
    sink: Arc<Meter>,
    stop: Arc<AtomicBool>,
}

impl Pump {
    fn run(&self) -> Pumped {
        while !self.stop.load(Ordering::Relaxed) {
            match self.step() {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::PIPE) => return Pumped::Refused(Errno::PIPE.into()),
                Err(error) => return Pumped::Unreadable(error.into()),
            }
        }
        Pumped::Refused(io::ErrorKind::Interrupted.into())
    }

    /// Waits for bytes, then for room, and moves what is there.
    fn step(&self) -> Result<Option<Pumped>, Errno> {
        let asked = Instant::now();
        if !self.has_bytes()? {
            self.tap.add_wait(asked.elapsed());
            return Ok(None);
        }
        self.tap.add_wait(asked.elapsed());
        std::thread::sleep(GATHER);
        let asked = Instant::now();
        let room = ready(&self.to, PollFlags::OUT)?;
        self.sink.add_wait(asked.elapsed().as_nanos() as u64);
        if !room {
            return Ok(None);
        }
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(&self.tap.pipe, None, &self.to, None, ALL, flags)? {
            0 => Ok(Some(Pumped::All)),
            bytes => {
                self.tap.add(bytes as u64);
                self.sink.add(bytes as u64);
                Ok(None)
            }
        }
    }

    /// Waits for bytes or the end; also sees when the other pipe's reader goes away meanwhile.
    fn has_bytes(&self) -> Result<bool, Errno> {
        let mut fds = [PollFd::new(&self.tap.pipe, PollFlags::IN), PollFd::new(&self.to, PollFlags::empty())];
        poll(&mut fds, Some(&LOOK_UP))?;
        if fds[1].revents().contains(PollFlags::ERR) {
            return Err(Errno::PIPE);
        }
        Ok(!fds[0].revents().is_empty())
    }
}

/// Waits until the pipe is ready, or a while; an end that was closed is ready.
fn ready(pipe: &impl AsFd, wanted: PollFlags) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(pipe, wanted)];
    Ok(poll(&mut fds, Some(&LOOK_UP))? > 0)
}
