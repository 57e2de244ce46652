//! A stream in frames with a trailer: the receiver knows whether the sender finished well.
//!
//! Layout, all numbers big-endian: the magic `RSW1`; then frames, each a `u32` length from 1 to
//! 1 MiB and that many bytes; then a `u32` 0 and the trailer: `u8` status (0 finished well, 1
//! failed), `u64` length of all bytes, 32 bytes SHA-256 of them, `u32` length of a message and the
//! message (the sender's error, UTF-8). Nothing may follow.

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::stream::{BoxStream, ByteStream};
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"RSW1";
const FRAME: usize = 1024 * 1024;
const MESSAGE: usize = 64 * 1024;

/// Frames a stream. The framed stream ends cleanly even when the inner one fails: its trailer
/// carries the error, so that the receiver learns the cause.
pub fn frame(stream: BoxStream) -> BoxStream {
    Box::new(Framer { stream, hasher: Sha256::new(), length: 0, begun: false, ended: false, rest: Bytes::new() })
}

struct Framer {
    stream: BoxStream,
    hasher: Sha256,
    length: u64,
    begun: bool,
    ended: bool,
    rest: Bytes,
}

impl Framer {
    fn trailer(&mut self, error: Option<Error>) -> Bytes {
        let mut message = error.as_ref().map(Error::chain).unwrap_or_default();
        message.truncate(message.floor_char_boundary(MESSAGE));
        let mut out = BytesMut::new();
        out.put_u32(0);
        out.put_u8(u8::from(error.is_some()));
        out.put_u64(self.length);
        out.put_slice(&std::mem::take(&mut self.hasher).finalize());
        out.put_u32(message.len() as u32);
        out.put_slice(message.as_bytes());
        out.freeze()
    }
}

#[async_trait]
impl ByteStream for Framer {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.begun {
            self.begun = true;
            return Ok(Some(Bytes::from_static(MAGIC)));
        }
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        if self.ended {
            return Ok(None);
        }
        match self.stream.next().await {
            Ok(Some(mut bytes)) => {
                self.hasher.update(&bytes);
                self.length += bytes.len() as u64;
                let mut out = BytesMut::new();
                if bytes.len() <= FRAME {
                    // The header goes out alone, so that the bytes themselves are not copied.
                    out.put_u32(bytes.len() as u32);
                    self.rest = bytes;
                } else {
                    while bytes.has_remaining() {
                        let piece = bytes.split_to(bytes.len().min(FRAME));
                        out.put_u32(piece.len() as u32);
                        out.put_slice(&piece);
                    }
                }
                Ok(Some(out.freeze()))
            }
            end => {
                self.ended = true;
                Ok(Some(self.trailer(end.err())))
            }
        }
    }
}

/// Takes frames apart again. Its clean end means that the trailer came, said that the sender
/// finished well, and that length and SHA-256 of what was given are what the sender saw.
pub struct Framed {
    stream: BoxStream,
    buffer: BytesMut,
    hasher: Sha256,
    length: u64,
    begun: bool,
    /// Bytes of the current frame that are still to come.
    left: usize,
}

impl Framed {
    /// Takes this stream of frames apart.
    pub fn boxed(stream: BoxStream) -> BoxStream {
        let buffer = BytesMut::new();
        Box::new(Self { stream, buffer, hasher: Sha256::new(), length: 0, begun: false, left: 0 })
    }

    /// Makes at least `wanted` bytes lie in the buffer.
    async fn fill(&mut self, wanted: usize) -> Result<()> {
        while self.buffer.len() < wanted {
            let bytes = self.stream.next().await?.ok_or_else(cut)?;
            if self.buffer.is_empty() {
                self.buffer = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
            } else {
                self.buffer.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    async fn trailer(&mut self) -> Result<()> {
        self.fill(1 + 8 + 32 + 4).await?;
        let failed = self.buffer.get_u8() != 0;
        let length = self.buffer.get_u64();
        let digest = self.buffer.split_to(32);
        let message_length = self.buffer.get_u32() as usize;
        if message_length > MESSAGE {
            return Err(Error::failed("the trailer of the framed stream is damaged"));
        }
        self.fill(message_length).await?;
        let message = self.buffer.split_to(message_length);
        if failed {
            return Err(Error::failed(String::from_utf8_lossy(&message).into_owned()).context("the sender failed"));
        }
        let hashed = std::mem::take(&mut self.hasher).finalize();
        if length != self.length || digest[..] != hashed[..] {
            return Err(Error::failed("the stream arrived with another SHA-256 than it was sent with"));
        }
        if !self.buffer.is_empty() || self.stream.next().await?.is_some() {
            return Err(Error::failed("bytes follow the end of the framed stream"));
        }
        Ok(())
    }
}

fn cut() -> Error {
    Error::failed("the framed stream was cut off before its trailer")
}

#[async_trait]
impl ByteStream for Framed {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.begun {
            self.fill(MAGIC.len()).await?;
            if self.buffer.split_to(MAGIC.len())[..] != MAGIC[..] {
                return Err(Error::failed("this is no framed stream of reseed").hint("are both sides of one version?"));
            }
            self.begun = true;
        }
        if self.left == 0 {
            self.fill(4).await?;
            self.left = self.buffer.get_u32() as usize;
            if self.left > FRAME {
                return Err(Error::failed("a frame of the framed stream is damaged"));
            }
            if self.left == 0 {
                return self.trailer().await.map(|()| None);
            }
        }
        self.fill(1).await?;
        let bytes = self.buffer.split_to(self.left.min(self.buffer.len())).freeze();
        self.left -= bytes.len();
        self.length += bytes.len() as u64;
        self.hasher.update(&bytes);
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::{Chunks, collect};

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn framed(chunks: &[Vec<u8>]) -> Vec<u8> {
        let chunks = chunks.iter().cloned().map(Bytes::from).collect();
        run(collect(frame(Box::new(Chunks::new(chunks))), usize::MAX)).unwrap()
    }

    fn unframe(bytes: Vec<Bytes>) -> Result<Vec<u8>> {
        run(collect(Framed::boxed(Box::new(Chunks::new(bytes))), usize::MAX))
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_back_however_it_is_cut_into_reads(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..8), size in 1usize..300,
        ) {
            let wire = framed(&chunks);
            let reads = wire.chunks(size).map(Bytes::copy_from_slice).collect();
            prop_assert_eq!(unframe(reads).unwrap(), chunks.concat());
        }

        #[test]
        fn no_cut_and_no_flipped_bit_ends_cleanly(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..4), at in any::<prop::sample::Index>(),
        ) {
            let wire = framed(&chunks);
            let at = at.index(wire.len());
            prop_assert!(unframe(vec![Bytes::copy_from_slice(&wire[..at])]).is_err());
            let mut flipped = wire.clone();
            flipped[at] ^= 1;
            prop_assert!(unframe(vec![Bytes::from(flipped)]).is_err());
        }
    }

    #[test]
    fn the_senders_error_is_the_receivers_error() {
        let failing = Chunks::failing(vec![Bytes::from_static(b"abc")], Error::failed("disk is on fire"));
        let wire = run(collect(frame(Box::new(failing)), usize::MAX)).unwrap();
        let error = unframe(vec![Bytes::from(wire)]).unwrap_err();
        assert_eq!(error.chain(), "the sender failed: disk is on fire");
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut wire = framed(&[b"abc".to_vec()]);
        wire.push(0);
        assert!(unframe(vec![Bytes::from(wire)]).is_err());
    }
}
