//! Lazy byte streams: the sink pulls, so back-pressure comes free.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{Error, Result};

/// A stream of bytes that does nothing until it is pulled.
///
/// The contract:
/// - `Ok(Some(bytes))` carries bytes that are not empty.
/// - `Ok(None)` is the clean end. It means that the producer reported success, that the format's
///   own end was seen where something on the way can see it, and that every byte was delivered.
/// - Any other end is an error. After an error or the end, `next` is not called again.
/// - To drop the stream is to abort it: children die, nothing is awaited.
#[async_trait]
pub trait ByteStream: Send {
    /// The next bytes, `None` at the clean end.
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// The pipe in which the stream's bytes lie, for one who can move them without this process's
    /// memory. Only a stream that need not see its bytes gives it, and only one that was not pulled
    /// yet; every other one leaves this as it is. Whoever takes it moves every byte to the pipe's end
    /// and then calls `next` for the verdict: `Ok(None)`, or how the stream failed.
    ///
    /// # Errors
    /// As `next`, when the stream must be opened first and can't be.
    async fn tap(&mut self) -> Result<Option<Tap>> {
        Ok(None)
    }
}

/// A pipe with a stream's bytes, and who wants to know how many they are.
#[derive(Debug)]
pub struct Tap {
    /// The end to read from.
    pub pipe: OwnedFd,
    /// What counts the bytes on their way.
    pub meters: Vec<Arc<Meter>>,
}

impl Tap {
    /// Tells every meter that so many bytes have passed.
    pub fn add(&self, bytes: u64) {
        self.meters.iter().for_each(|meter| meter.add(bytes));
    }

    /// Tells every meter how long the pipe was waited for.
    pub fn add_wait(&self, waited: Duration) {
        self.meters.iter().for_each(|meter| meter.add_wait(waited.as_nanos() as u64));
    }
}

/// A stream behind a pointer.
pub type BoxStream = Box<dyn ByteStream>;

/// Counts what passes one point of the pipeline, and how long the point was waited for.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    waited: AtomicU64,
    /// When each wait that goes on began.
    waits: Mutex<Vec<Instant>>,
}

/// A wait for one point that goes on until this is dropped.
#[derive(Debug)]
pub struct Waiting<'m> {
    meter: &'m Meter,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.meter.waits();
        if let Some(at) = waits.iter().position(|since| *since == self.since) {
            waits.swap_remove(at);
        }
        self.meter.add_wait(nanos(self.since.elapsed()));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Meter {
    /// Bytes that have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Nanoseconds spent waiting for this point to deliver, up to now.
    pub fn waited_nanos(&self) -> u64 {
        let waits = self.waits();
        let open: u64 = waits.iter().map(|since| nanos(since.elapsed())).sum();
        self.waited.load(Ordering::Relaxed) + open
    }

    /// Notes that this point is waited for from now on.
    pub fn wait(&self) -> Waiting<'_> {
        let since = Instant::now();
        self.waits().push(since);
        Waiting { meter: self, since }
    }

    /// Notes that `bytes` more have passed.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes `nanos` more of waiting.
    pub fn add_wait(&self, nanos: u64) {
        self.waited.fetch_add(nanos, Ordering::Relaxed);
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that tells a [`Meter`] what passes.
pub struct Metered {
    inner: BoxStream,
    meter: Arc<Meter>,
}

impl Metered {
    /// Puts `meter` on `inner`.
    pub fn boxed(inner: BoxStream, meter: Arc<Meter>) -> BoxStream {
        Box::new(Self { inner, meter })
    }
}

#[async_trait]
impl ByteStream for Metered {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let waiting = self.meter.wait();
        let item = self.inner.next().await;
        drop(waiting);
        if let Ok(Some(bytes)) = &item {
            self.meter.add(bytes.len() as u64);
        }
        item
    }

    async fn tap(&mut self) -> Result<Option<Tap>> {
        let tap = self.inner.tap().await?;
        Ok(tap.map(|mut tap| {
            tap.meters.push(Arc::clone(&self.meter));
            tap
        }))
    }
}

/// A stream that is opened when it is first pulled.
pub struct Deferred(State);

enum State {
    Waiting(Pin<Box<dyn Future<Output = Result<BoxStream>> + Send>>),
    Open(BoxStream),
}

impl Deferred {
    /// The stream that `open` will give.
    pub fn boxed(open: impl Future<Output = Result<BoxStream>> + Send + 'static) -> BoxStream {
        Box::new(Self(State::Waiting(Box::pin(open))))
    }

    async fn opened(&mut self) -> Result<&mut BoxStream> {
        if let State::Waiting(open) = &mut self.0 {
            self.0 = State::Open(open.await?);
        }
        match &mut self.0 {
            State::Open(stream) => Ok(stream),
            State::Waiting(_) => Err(Error::failed("the stream was not opened")),
        }
    }
}

#[async_trait]
impl ByteStream for Deferred {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.opened().await?.next().await
    }

    async fn tap(&mut self) -> Result<Option<Tap>> {
        self.opened().await?.tap().await
    }
}

/// A stream of chunks that are already in memory; it ends cleanly, or with the given error.
#[derive(Debug)]
pub struct Chunks {
    chunks: std::vec::IntoIter<Bytes>,
    error: Option<Error>,
}

impl Chunks {
    /// These chunks, then the clean end. Empty chunks are left out.
    pub fn new(chunks: Vec<Bytes>) -> Self {
        let chunks: Vec<_> = chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        Self { chunks: chunks.into_iter(), error: None }
    }

    /// These chunks, then `error`.
    pub fn failing(chunks: Vec<Bytes>, error: Error) -> Self {
        Self { error: Some(error), ..Self::new(chunks) }
    }
}

#[async_trait]
impl ByteStream for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match (self.chunks.next(), self.error.take()) {
            (Some(chunk), error) => {
                self.error = error;
                Ok(Some(chunk))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }
}

/// Reads a stream to its end into memory, refusing more than `limit` bytes.
pub async fn collect(mut stream: BoxStream, limit: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        if all.len() + bytes.len() > limit {
            return Err(Error::failed(format!("more than {limit} bytes where few were expected")));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}
