//! Feeding a stream to a process.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{Inlet, Outlet, Process};
use crate::stream::{BoxStream, ByteStream, Meter};
use crate::{Error, Result};

/// How long a process that was ended may take before its input is closed all the same.
pub(super) const DYING: Duration = Duration::from_secs(5);

/// How feeding came to its end.
pub(super) enum Fed {
    /// The stream ended cleanly and every byte was written.
    Whole,
    /// The stream failed.
    Cut(Error),
    /// The process reads no more.
    Refused(std::io::Error),
}

/// Feeds a stream to a process until its clean end, closes the process's input and waits for it.
/// `meter` counts what was written and how long the process was waited for.
///
/// # Errors
/// The cause of two broken ends: when the stream fails, its error, and the process is ended without
/// ever seeing an end of its input; when the process fails, what it said.
pub async fn drain(mut stream: BoxStream, mut process: Process, meter: &Arc<Meter>) -> Result<()> {
    let Some(mut stdin) = process.stdin.take() else {
        return Err(Error::failed("the process has no standard input"));
    };
    // Declared after its input, so dropped before it: a cancel ends the process before its input ends.
    let mut process = process;
    let _reading = Discard::start(process.stdout.take());
    match feed(stream.as_mut(), stdin.as_mut(), meter).await {
        Fed::Whole => {
            stdin.shutdown().await.ok();
            drop(stdin);
            process.handle.wait().await?.success_on(&process.host)
        }
        Fed::Cut(error) => {
            process.handle.kill();
            let _ = tokio::time::timeout(DYING, process.handle.wait()).await;
            Err(error)
        }
        Fed::Refused(error) => {
            drop(stdin);
            process.handle.wait().await?.success_on(&process.host)?;
            Err(Error::failed(format!("{} stopped reading its input", process.host)).because(error))
        }
    }
}

pub(super) async fn feed(stream: &mut dyn ByteStream, stdin: &mut dyn Inlet, meter: &Arc<Meter>) -> Fed {
    #[cfg(target_os = "linux")]
    if let Some(early) = feed_by_pump(stream, stdin, meter).await {
        return early;
    }
    loop {
        let bytes = match stream.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Fed::Whole,
            Err(error) => return Fed::Cut(error),
        };
        let waiting = meter.wait();
        let written = stdin.write_all(&bytes).await;
        drop(waiting);
        if let Err(error) = written {
            return Fed::Refused(error);
        }
        meter.add(bytes.len() as u64);
    }
}

/// From pipe to pipe, where both ends are pipes and nothing on the way needs the bytes. `None` leaves
/// the rest, which may be only the verdict, to be pulled.
#[cfg(target_os = "linux")]
async fn feed_by_pump(stream: &mut dyn ByteStream, stdin: &mut dyn Inlet, meter: &Arc<Meter>) -> Option<Fed> {
    use super::pump::{Pumped, pump};
    use std::os::fd::AsFd;

    // Without a second handle of the pipe it goes the long way.
    let to = stdin.as_pipe()?.as_fd().try_clone_to_owned().ok()?;
    let tap = match stream.tap().await {
        Ok(tap) => tap?,
        Err(error) => return Some(Fed::Cut(error)),
    };
    match pump(tap, to, Arc::clone(meter)).await {
        Ok(Pumped::All) => None,
        Ok(Pumped::Refused(error)) => Some(Fed::Refused(error)),
        Ok(Pumped::Unreadable(error)) | Err(error) => Some(Fed::Cut(error.into())),
    }
}

/// Reads away what a receiver prints, so that it never waits for a reader; ends when dropped.
struct Discard(Option<tokio::task::JoinHandle<()>>);

impl Discard {
    fn start(stdout: Option<Box<dyn Outlet>>) -> Self {
        Self(stdout.map(|mut stdout| {
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
            })
        }))
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
