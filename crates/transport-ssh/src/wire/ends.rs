//! The two ends that sshd gives a command, and the signals that end it.
//!
//! Both are read and written by threads of their own: a thread that waits for the other side for ever
//! must not keep this process from ending.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Bytes that one read asks for.
const READ: usize = 256 * 1024;
/// Reads and writes that wait in a queue.
const QUEUE: usize = 4;

/// This process's standard input as a stream. Its end says nothing: what is inside must.
pub(super) struct Input(mpsc::Receiver<io::Result<Bytes>>);

impl Input {
    pub(super) fn boxed() -> Result<BoxStream> {
        let file = owned(io::stdin().as_fd())?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        std::thread::spawn(move || read_all(file, &sender));
        Ok(Box::new(Self(receiver)))
    }
}

fn read_all(mut file: File, to: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = BytesMut::new();
    loop {
        if !buffer.try_reclaim(READ) {
            buffer = BytesMut::with_capacity(READ);
        }
        buffer.resize(READ, 0);
        let read = file.read(&mut buffer);
        let item = match read {
            Ok(0) => return,
            Ok(read) => Ok(buffer.split_to(read).freeze()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = item.is_err();
        if to.blocking_send(item).is_err() || failed {
            return;
        }
    }
}

#[async_trait]
impl ByteStream for Input {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let read = self.0.recv().await.transpose();
        read.map_err(|e| Error::failed("reading the wire").because(e))
    }
}

/// This process's standard output.
pub(super) struct Output {
    queue: mpsc::Sender<Bytes>,
    end: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    pub(super) fn new() -> Result<Self> {
        let file = owned(io::stdout().as_fd())?;
        let (queue, chunks) = mpsc::channel(QUEUE);
        let (told, end) = oneshot::channel();
        std::thread::spawn(move || told.send(write_all(file, chunks)));
        Ok(Self { queue, end })
    }

    /// Writes a stream to its end; every byte is in the kernel's hands then.
    pub(super) async fn take(self, mut stream: BoxStream) -> Result<()> {
        while let Some(bytes) = stream.next().await? {
            if self.queue.send(bytes).await.is_err() {
                // The thread has ended, and tells why.
                break;
            }
        }
        drop(self.queue);
        let written = self.end.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        written.map_err(|e| Error::failed("writing to the wire").because(e))
    }
}

fn write_all(mut file: File, mut chunks: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(bytes) = chunks.blocking_recv() {
        file.write_all(&bytes)?;
    }
    Ok(())
}

fn owned(end: impl AsFd) -> Result<File> {
    Ok(File::from(end.as_fd().try_clone_to_owned()?))
}

/// Resolves when this process is asked to end.
pub(super) async fn asked_to_end() {
    let asked = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asked(SignalKind::terminate()) => (),
        () = asked(SignalKind::hangup()) => (),
        () = asked(SignalKind::interrupt()) => (),
    }
}
