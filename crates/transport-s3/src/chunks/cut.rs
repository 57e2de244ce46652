//! Where a stream is cut. The same stream is always cut at the same places, whatever pieces it comes in.

use bytes::{Bytes, BytesMut};
use reseed_core::reader::Place;
use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};

use super::judge::{Judge, Unfit};

/// A piece of a stream.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// How the stream begins, where that is known to matter to whoever goes on with it.
    pub(super) head: Option<String>,
    /// The cut behind it, where the stream can be gone on with there.
    pub(super) behind: Option<Place>,
}

/// Cuts a stream into pieces of at most one size: where it can be gone on with, or at least between records, as far
/// as that is known and the pieces do not become less than half as large by it.
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
    /// Of a stream of which `cut` bytes are in front of what comes.
    pub(super) fn new(stream: BoxStream, judge: Judge, most: usize, cut: u64) -> Self {
        Self { stream: Some(stream), rest: BytesMut::new(), most, judge, cut, judged: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        while let Some(stream) = &mut self.stream
            && self.rest.len() < self.most
        {
            match stream.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => self.stream = None,
            }
        }
        let piece = self.piece()?;
        Ok((!piece.bytes.is_empty()).then_some(piece))
    }

    fn piece(&mut self) -> Result<Piece> {
        let held = self.most.min(self.rest.len());
        self.judge.push(&self.rest[self.judged..held]).map_err(damaged)?;
        let is_last = self.stream.is_none() && held == self.rest.len();
        if is_last {
            self.judge.finish().map_err(unfit)?;
        }
        let place = self.judge.place();
        let head = place.as_ref().map(|place| place.head.clone());
        let (length, behind) = if is_last { (held, None) } else { self.between_records(held, place) };
        self.judged = held - length;
        self.cut += length as u64;
        Ok(Piece { bytes: self.rest.split_to(length).freeze(), head, behind })
    }

    /// Bytes up to the last place among those that are held at which the stream can be gone on with, and that
    /// place; without one up to the last record that begins.
    fn between_records(&self, held: usize, place: Option<Place>) -> (usize, Option<Place>) {
        let length = |offset: u64| usize::try_from(offset.checked_sub(self.cut)?).ok();
        let enough = |length: &usize| *length >= self.most.div_ceil(2);
        if let Some(place) = place
            && let Some(length) = length(place.offset).filter(enough)
        {
            return (length, Some(place));
        }
        (self.judge.border().and_then(length).filter(enough).unwrap_or(held), None)
    }
}

fn damaged(why: String) -> Error {
    unfit(Unfit::Damaged(why))
}

fn unfit(why: Unfit) -> Error {
    let hint = match why {
        Unfit::Damaged(_) => "nothing of it will be used; run it again",
        Unfit::Another(_) => "let the source say what its stream tells: an `exec` source by `guid` and `from_guid`",
    };
    Error::failed(why.to_string()).hint(hint)
}
