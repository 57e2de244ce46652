//! What is counted in a run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Progress;
use crate::stream::Meter;

/// Counters of a run: each byte is counted once in each.
#[derive(Debug, Default)]
pub struct Meters {
    /// Bytes before encoding.
    pub stream: Arc<Meter>,
    /// Bytes that cross a wire.
    pub wire: Arc<Meter>,
    /// Bytes written to the receiver, and the time it was waited for.
    pub sink: Arc<Meter>,
    estimate: Mutex<Option<u64>>,
    flows: AtomicUsize,
}

/// A stream that flows until this is dropped.
#[derive(Debug)]
#[must_use = "keep it as long as the stream flows"]
pub struct Flowing(Arc<Meters>);

impl Flowing {
    /// One more stream flows.
    pub(super) fn of(meters: &Arc<Meters>) -> Self {
        meters.flows.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(meters))
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.0.flows.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meters {
    /// Adds to the estimate of all bytes before encoding.
    pub fn expect(&self, bytes: u64) {
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        *estimate = Some(estimate.unwrap_or(0) + bytes);
    }

    /// Whether any stream flows.
    pub(crate) fn flows(&self) -> bool {
        self.flows.load(Ordering::Relaxed) > 0
    }

    /// The counts as they are now.
    pub fn progress(&self) -> Progress {
        Progress {
            stream_bytes: self.stream.bytes(),
            wire_bytes: self.wire.bytes(),
            estimate: *self.estimate.lock().unwrap_or_else(PoisonError::into_inner),
            wire_wait: self.wire.waited_nanos(),
            stream_wait: self.stream.waited_nanos(),
            sink_wait: self.sink.waited_nanos(),
        }
    }
}
