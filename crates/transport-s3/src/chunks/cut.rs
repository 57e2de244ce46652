//! Where a stream is cut. The same stream is always cut at the same places, whatever pieces it comes in.

use bytes::{Bytes, BytesMut};
use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};

use super::judge::Judge;

/// Cuts a stream into pieces of at most one size: between records, where it is known where those are and
/// the pieces do not become less than half as large by that.
pub(super) struct Cutter {
    /// Until its clean end was seen.
    stream: Option<BoxStream>,
    rest: BytesMut,
    most: usize,
    judge: Judge,
    /// Bytes of the stream in front of `rest`.
    cut: u64,
    /// Bytes of `rest` that were judged.
    judged: usize,
}

impl Cutter {
    pub(super) fn new(stream: BoxStream, judge: Judge, most: usize) -> Self {
        Self { stream: Some(stream), rest: BytesMut::new(), most, judge, cut: 0, judged: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(stream) = &mut self.stream
            && self.rest.len() < self.most
        {
            match stream.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => self.stream = None,
            }
        }
        let piece = self.piece()?;
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn piece(&mut self) -> Result<Bytes> {
        let held = self.most.min(self.rest.len());
        self.judge.push(&self.rest[self.judged..held]).map_err(damaged)?;
        let is_last = self.stream.is_none() && held == self.rest.len();
        if is_last {
            self.judge.finish().map_err(damaged)?;
        }
        let length = if is_last { held } else { self.between_records(held) };
        self.judged = held - length;
        self.cut += length as u64;
        Ok(self.rest.split_to(length).freeze())
    }

    /// Bytes up to the last record that begins among those that are held.
    fn between_records(&self, held: usize) -> usize {
        let border = self.judge.border().and_then(|border| usize::try_from(border.checked_sub(self.cut)?).ok());
        border.filter(|length| *length >= self.most.div_ceil(2)).unwrap_or(held)
    }
}

fn damaged(why: String) -> Error {
    Error::failed(why).hint("nothing of it will be used; run it again")
}
