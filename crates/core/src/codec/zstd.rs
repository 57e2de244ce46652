//! zstd (RFC 8878) on a thread of its own with bounded queues.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Codec;
use crate::host::Command;
use crate::registry::CodecPlugin;
use crate::stream::{BoxStream, ByteStream, Deferred};
use crate::{Encoding, Error, Result};

/// Chunks that wait on each side of the thread.
const QUEUE: usize = 4;
const CHUNK: usize = 256 * 1024;
/// Both sides agree on the largest window, so that memory is bounded (zstd's own default limit).
const WINDOW_LOG_MAX: u32 = 27;

/// The zstd codec.
#[derive(Debug, Clone, Copy)]
pub struct Zstd {
    /// Level from 1 to 19.
    pub level: i32,
}

inventory::submit! { CodecPlugin { name: "zstd", program: Some("zstd"), parse } }

fn parse(level: &str) -> Option<Arc<dyn Codec>> {
    let level = level.parse().ok().filter(|level| (1..=19).contains(level))?;
    Some(Arc::new(Zstd { level }))
}

impl Zstd {
    /// The name of its encoding.
    pub const ENCODING: Encoding = Encoding::new("zstd");
}

impl Codec for Zstd {
    fn encoding(&self) -> Encoding {
        Self::ENCODING
    }

    fn spec(&self) -> String {
        format!("zstd:{}", self.level)
    }

    fn encode(&self, stream: BoxStream) -> BoxStream {
        let level = self.level;
        on_thread(stream, move |mut input, output| {
            let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
            encoder.include_checksum(true)?;
            encoder.multithread(std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32))?;
            io::copy(&mut input, &mut encoder)?;
            encoder.finish()?.flush()
        })
    }

    fn decode(&self, stream: BoxStream) -> BoxStream {
        on_thread(stream, |mut input, mut output| {
            if input.fill_buf()?.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed stream is empty"));
            }
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            io::copy(&mut decoder, &mut output)?;
            output.flush()
        })
    }

    fn encoder(&self) -> Option<Command> {
        Some(Command::new("zstd").args(["-q", "-c", "-T0", &format!("-{}", self.level)]))
    }

    fn decoder(&self) -> Option<Command> {
        Some(Command::new("zstd").args(["-q", "-d", "-c"]))
    }
}

/// `Ok(None)` is the clean end; a channel that closes without it was aborted.
type Message = Result<Option<Bytes>>;

/// Runs blocking work between two streams on a thread of its own, which begins with the first pull and
/// ends when either end goes away. An error of the inner stream passes through the work as it is.
fn on_thread(
    stream: BoxStream,
    work: impl FnOnce(ChannelReader, ChannelWriter) -> io::Result<()> + Send + 'static,
) -> BoxStream {
    Deferred::boxed(async move { Ok(start(stream, work)) })
}

fn start(
    mut stream: BoxStream,
    work: impl FnOnce(ChannelReader, ChannelWriter) -> io::Result<()> + Send + 'static,
) -> BoxStream {
    let (to_thread, input) = mpsc::channel::<Message>(QUEUE);
    let (to_stream, output) = mpsc::channel::<Message>(QUEUE);
    let feed = tokio::spawn(async move {
        loop {
            let next = stream.next().await;
            let last = !matches!(next, Ok(Some(_)));
            if to_thread.send(next).await.is_err() || last {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        let reader = ChannelReader { input, current: Bytes::new(), ended: false };
        let writer = ChannelWriter { output: to_stream.clone(), buffer: BytesMut::new() };
        let end = work(reader, writer).map(|()| None).map_err(from_io);
        // Nobody listens any more when the stream was dropped.
        let _ = to_stream.blocking_send(end);
    });
    Box::new(OnThread { output, feed })
}

fn from_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => Error::failed("zstd").because(error),
    }
}

struct OnThread {
    output: mpsc::Receiver<Message>,
    feed: JoinHandle<()>,
}

#[async_trait]
impl ByteStream for OnThread {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let gone = || Err(Error::failed("the codec's thread ended without a word"));
        self.output.recv().await.unwrap_or_else(gone)
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        // Drops the inner stream and with it the children that feed it.
        self.feed.abort();
    }
}

struct ChannelReader {
    input: mpsc::Receiver<Message>,
    current: Bytes,
    ended: bool,
}

impl BufRead for ChannelReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.ended {
            match self.input.blocking_recv() {
                Some(Ok(Some(bytes))) => self.current = bytes,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, used: usize) {
        self.current.advance(used);
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

struct ChannelWriter {
    output: mpsc::Sender<Message>,
    buffer: BytesMut,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.split().freeze();
        self.output.blocking_send(Ok(Some(bytes))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Chunks, collect};

    fn stream(bytes: &[u8]) -> BoxStream {
        Box::new(Chunks::new(bytes.chunks(1000).map(Bytes::copy_from_slice).collect()))
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    async fn encoded() -> Vec<u8> {
        collect(Zstd { level: 3 }.encode(stream(&sample())), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_compressed_comes_back() {
        let small = encoded().await;
        assert!(small.len() < sample().len() / 2);
        let back = collect(Zstd { level: 3 }.decode(stream(&small)), usize::MAX).await.unwrap();
        assert_eq!(back, sample());
    }

    #[tokio::test]
    async fn a_cut_stream_and_bytes_after_the_end_are_errors() {
        let small = encoded().await;
        for cut in [0, 1, 4, small.len() / 2, small.len() - 1] {
            let back = collect(Zstd { level: 3 }.decode(stream(&small[..cut])), usize::MAX).await;
            assert!(back.is_err(), "cut at {cut} of {}", small.len());
        }
        let longer = [small, b"more".to_vec()].concat();
        assert!(collect(Zstd { level: 3 }.decode(stream(&longer)), usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn the_inner_streams_error_passes_through_as_it_is() {
        let failing = Chunks::failing(vec![Bytes::from_static(b"abc")], Error::failed("disk is on fire"));
        let error = collect(Zstd { level: 3 }.encode(Box::new(failing)), usize::MAX).await.unwrap_err();
        assert_eq!(error.chain(), "disk is on fire");
    }
}
