//! Places in a stream at which it can be gone on with, in words that a repository keeps.
//!
//! The head of a stream is that of its first record, in hex, without the zeros at its end. A place says, in
//! numbers between colons, the object and the offset of the block behind it, the number of that block's record,
//! and the four sums of the checksum of all that is in front of it.

use reseed_core::reader::{Place, Resumption, StreamReader};
use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};

use super::record::{Begin, Extent, HEAD};
use super::rest::Split;
use super::token::Token;
use super::{Expected, Parser, Reader, Resumable, Seen};

/// A place, and the head of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(super) head: Box<[u8; HEAD]>,
    pub(super) at: Resumable,
}

impl Spot {
    /// The last one that was seen. Streams without a checksum in each record can't be gone on with.
    pub(super) fn last(reader: &Reader) -> Option<Self> {
        let seen = reader.seen();
        let at = seen.resumable.clone().filter(|_| reader.parser().is_guarded())?;
        Some(Self { head: seen.first.clone()?, at })
    }

    /// Reads what [`place`](Self::place) has written.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(place: &Place) -> Result<Self> {
        Self::parse(place).ok_or_else(|| Error::failed("this is no place in a stream of ZFS"))
    }

    fn parse(place: &Place) -> Option<Self> {
        let (pairs, rest) = place.head.as_bytes().as_chunks::<2>();
        let mut head = Box::new([0; HEAD]);
        let fits = rest.is_empty() && pairs.len() <= HEAD;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        for (byte, told) in head.iter_mut().zip(pairs.iter().filter(|_| fits).map(byte)) {
            *byte = told?;
        }
        let numbers = place.state.split(':').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let [object, offset, number, a, b, c, d] = numbers[..] else { return None };
        let block = Extent { object, offset, length: 0 };
        let at = Resumable { border: place.offset, number, sums: [a, b, c, d], block };
        let spot = Self { head, at };
        (fits && spot.begin().is_some()).then_some(spot)
    }

    /// The place in words.
    pub(super) fn place(&self) -> Place {
        let length = self.head.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let Resumable { border, number, sums: [a, b, c, d], block } = &self.at;
        Place {
            offset: *border,
            head: self.head[..length].iter().map(|byte| format!("{byte:02x}")).collect(),
            state: format!("{}:{}:{number}:{a}:{b}:{c}:{d}", block.object, block.offset),
        }
    }

    /// How its stream begins; `None` where that can't be gone on with.
    pub(super) fn begin(&self) -> Option<Begin> {
        Parser::behind(&self.head, &self.at).map(|(_, begin)| begin)
    }

    /// Whether it is in this stream.
    pub(crate) fn is_in(&self, stream: &Expected) -> bool {
        self.begin().is_some_and(|begin| stream.differs(&begin, &Seen::default()).is_none())
    }

    /// The token by which a sender goes on here.
    pub(crate) fn token(&self) -> Option<Token> {
        Some(Token::at(&self.begin()?, &self.at))
    }
}

/// What ZFS knows of places.
pub(super) struct Places;

impl Resumption for Places {
    fn reader(&self, place: &Place) -> Result<Box<dyn StreamReader>> {
        let spot = Spot::read(place)?;
        let reader = Reader::behind(&spot.head, &spot.at);
        Ok(Box::new(reader.ok_or_else(|| Error::failed("a stream of several snapshots can't be gone on with"))?))
    }

    /// What a raw or a redacted stream says behind its beginning is not known here, and a receiver needs it.
    fn leads_to(&self, place: &Place, token: &str) -> bool {
        let (Some(spot), Ok(token)) = (Spot::parse(place), Token::read(token)) else { return false };
        let Some(begin) = spot.begin() else { return false };
        let same = (begin.to_guid, begin.from_guid) == (token.to_guid, token.from_guid.unwrap_or(0));
        let has_more = ["raw", "redacted", "resuming"].iter().any(|name| begin.features.has(name));
        let block = spot.at.block;
        same && !has_more && (block.object, block.offset) <= (token.object, token.offset)
    }

    fn rest(&self, place: &Place, token: &str, stream: BoxStream) -> Result<BoxStream> {
        let (spot, token) = (Spot::read(place)?, Token::read(token).map_err(|why| Error::failed(why.to_string()))?);
        Ok(Split::boxed(&spot, &token, stream))
    }
}
