//! A stream that tells what is done with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::stream::{BoxStream, ByteStream};

/// What is known of a probed stream.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    pulled: AtomicU64,
    dropped: AtomicBool,
}

impl Probe {
    /// Puts the probe on a stream.
    pub fn on(&self, inner: BoxStream) -> BoxStream {
        Box::new(Probed { inner, known: Arc::clone(&self.0) })
    }

    /// Bytes that were pulled.
    pub fn pulled(&self) -> u64 {
        self.0.pulled.load(Ordering::SeqCst)
    }

    /// Whether the stream is gone.
    pub fn is_dropped(&self) -> bool {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

struct Probed {
    inner: BoxStream,
    known: Arc<Known>,
}

#[async_trait]
impl ByteStream for Probed {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.inner.next().await;
        if let Ok(Some(bytes)) = &next {
            self.known.pulled.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
        next
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.known.dropped.store(true, Ordering::SeqCst);
    }
}

/// A stream without an end, of bytes that don't compress.
pub fn endless() -> BoxStream {
    Box::new(Endless(0x9e37_79b9_7f4a_7c15))
}

struct Endless(u64);

#[async_trait]
impl ByteStream for Endless {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        // xorshift64: no two chunks are alike.
        let mut word = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()
        };
        Ok(Some((0..8192).flat_map(|_| word()).collect::<Vec<_>>().into()))
    }
}
