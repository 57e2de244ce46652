//! The stage `buffer`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::passing::passing;
use crate::config::{BuildCx, Size};
use crate::item::Pass;
use crate::register_stage;
use crate::registry::StageConfig;
use crate::stage::Stage;
use crate::stream::{BoxStream, ByteStream};
use crate::{Error, Result};

/// Reads ahead into memory, so that a source and a receiver that stop by turns wait less for each
/// other. The memory is that of the machine that reseed runs on; to buffer on another one, run
/// `mbuffer` there by `exec`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BufferConfig {
    /// How much is read ahead at most, for each stream that flows.
    #[serde(default = "default_size")]
    size: Size,
}

register_stage!(BufferConfig);

const NAME: &str = "buffer";
const DEFAULT: u64 = 64 * 1024 * 1024;
/// Room is counted in units of so many bytes.
const UNIT: u64 = 1024;

fn default_size() -> Size {
    Size::bytes(DEFAULT).expect("it is more than nothing")
}

impl StageConfig for BufferConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(buffer(self.size))
    }
}

/// Reads so much of each stream ahead into memory, by a task of its own.
pub fn buffer(size: Size) -> Arc<dyn Stage> {
    passing(NAME, Room(size))
}

#[derive(Debug)]
struct Room(Size);

impl Pass for Room {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        let units = u32::try_from(self.0.get().div_ceil(UNIT)).unwrap_or(u32::MAX);
        Box::new(Ahead::Waiting(Some((stream, units))))
    }
}

/// What was read ahead, and the room that it takes until it is pulled.
type Held = (Result<Option<Bytes>>, Option<OwnedSemaphorePermit>);

enum Ahead {
    /// Not pulled yet: nothing is read.
    Waiting(Option<(BoxStream, u32)>),
    Reading {
        held: mpsc::UnboundedReceiver<Held>,
        reader: JoinHandle<()>,
    },
}

impl Ahead {
    fn start(stream: BoxStream, units: u32) -> Self {
        // Bounded by the room that each chunk takes.
        let (give, held) = mpsc::unbounded_channel();
        Self::Reading { held, reader: tokio::spawn(read(stream, units, give)) }
    }
}

async fn read(mut stream: BoxStream, units: u32, give: mpsc::UnboundedSender<Held>) {
    let room = Arc::new(Semaphore::new(units as usize));
    loop {
        // Room for one unit first, so that nothing is pulled while there is none.
        let Ok(first) = Arc::clone(&room).acquire_owned().await else { return };
        let next = stream.next().await;
        let size = match &next {
            Ok(Some(bytes)) => u32::try_from((bytes.len() as u64).div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, units),
            _ => {
                let _ = give.send((next, None));
                return;
            }
        };
        let Ok(mut taken) = Arc::clone(&room).acquire_many_owned(size - 1).await else { return };
        taken.merge(first);
        if give.send((next, Some(taken))).is_err() {
            return;
        }
    }
}

#[async_trait]
impl ByteStream for Ahead {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Self::Waiting(waiting) = self
            && let Some((stream, units)) = waiting.take()
        {
            *self = Self::start(stream, units);
        }
        let gone = || Error::failed("the buffer's task ended without a word");
        match self {
            Self::Reading { held, .. } => held.recv().await.ok_or_else(gone)?.0,
            Self::Waiting(_) => Err(gone()),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Self::Reading { reader, .. } = self {
            // Drops the inner stream and with it the children that feed it.
            reader.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::stream::{Chunks, collect};

    struct Endless(Arc<AtomicU64>);

    #[async_trait]
    impl ByteStream for Endless {
        async fn next(&mut self) -> Result<Option<Bytes>> {
            self.0.fetch_add(10_000, Ordering::SeqCst);
            Ok(Some(vec![0; 10_000].into()))
        }
    }

    fn buffered(bytes: u64, stream: impl ByteStream + 'static) -> BoxStream {
        Room(Size::bytes(bytes).unwrap()).pass(Box::new(stream))
    }

    #[tokio::test]
    async fn bytes_pass_whole_also_those_larger_than_the_room() {
        let chunks: Vec<Bytes> = (1..50u8).map(|n| vec![n; usize::from(n) * 100].into()).collect();
        let all = collect(buffered(2048, Chunks::new(chunks.clone())), usize::MAX).await.unwrap();
        assert_eq!(all, chunks.concat());
    }

    #[tokio::test]
    async fn what_was_read_before_an_error_comes_before_it() {
        let failing = Chunks::failing(vec!["abc".into()], Error::failed("disk is on fire"));
        let mut stream = buffered(1 << 20, failing);
        assert_eq!(stream.next().await.unwrap().unwrap(), "abc");
        assert_eq!(stream.next().await.unwrap_err().chain(), "disk is on fire");
    }

    #[tokio::test]
    async fn nothing_is_read_before_the_first_pull_and_no_more_than_there_is_room_for() {
        let pulled = Arc::new(AtomicU64::new(0));
        let mut stream = buffered(100_000, Endless(Arc::clone(&pulled)));
        tokio::task::yield_now().await;
        assert_eq!(pulled.load(Ordering::SeqCst), 0);
        for _ in 0..5 {
            stream.next().await.unwrap();
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let pulled = pulled.load(Ordering::SeqCst);
        assert!((100_000..=180_000).contains(&pulled), "{pulled}");
    }
}
