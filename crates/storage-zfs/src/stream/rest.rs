//! The rest of a stream that was cut off: what `zfs send -t` makes of it becomes what would have followed, and what
//! would have followed becomes what `zfs receive` takes that has the first half.

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::item::Pass;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};

use super::fletcher::{Fletcher, Order};
use super::join::{Join, sealed};
use super::nvlist::{List, Value};
use super::place::Spot;
use super::record::{Body, HEAD};
use super::token::Token;
use super::watch::told;
use super::{Broken, Event, Parser};

/// Makes other bytes of those of a stream that begins in the middle of another.
trait Remakes: Send {
    fn push(&mut self, bytes: &[u8], remade: &mut Vec<u8>) -> Result<(), Broken>;
    fn finish(&self) -> Result<(), Broken>;
}

/// A stream that is remade as it passes.
struct Remade<R> {
    /// Until its clean end was seen.
    inner: Option<BoxStream>,
    by: R,
}

impl<R: Remakes> Remade<R> {
    fn new(inner: BoxStream, by: R) -> Self {
        Self { inner: Some(inner), by }
    }
}

#[async_trait]
impl<R: Remakes> ByteStream for Remade<R> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(inner) = &mut self.inner {
            let Some(bytes) = inner.next().await? else {
                self.by.finish().map_err(told)?;
                self.inner = None;
                break;
            };
            let mut remade = Vec::with_capacity(bytes.len() + HEAD);
            self.by.push(&bytes, &mut remade).map_err(told)?;
            if !remade.is_empty() {
                return Ok(Some(remade.into()));
            }
        }
        Ok(None)
    }
}

/// Makes of what `zfs send -t` writes what would have followed a place.
#[derive(Debug)]
pub(crate) struct Joined(pub(crate) Spot);

impl Pass for Joined {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        let spot = &self.0;
        let join =
            Parser::behind(&spot.head, &spot.at).map(|(parser, begin)| Join::after(&begin, parser.order(), &spot.at));
        match join {
            Some(join) => Box::new(Remade::new(stream, join)),
            None => Box::new(Nothing),
        }
    }

    fn reads(&self) -> bool {
        true
    }
}

/// Where a stream can't be gone on with.
struct Nothing;

#[async_trait]
impl ByteStream for Nothing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Err(Error::failed("this stream can't be gone on with in its middle"))
    }
}

impl Remakes for Join {
    fn push(&mut self, bytes: &[u8], remade: &mut Vec<u8>) -> Result<(), Broken> {
        Self::push(self, bytes, remade)
    }

    fn finish(&self) -> Result<(), Broken> {
        Self::finish(self)
    }
}

/// Makes of what follows a place what a receiver takes that goes on by a token: a BEGIN that says so, and the
/// records from the block on that the token names.
pub(super) struct Split {
    parser: Parser,
    sums: Fletcher,
    token: Token,
    /// The BEGIN, until it was given.
    begin: Option<Vec<u8>>,
    /// Whether the receiver has the records that come.
    had: bool,
}

impl Split {
    pub(super) fn boxed(spot: &Spot, token: &Token, stream: BoxStream) -> BoxStream {
        match Self::at(spot, token) {
            Some(split) => Box::new(Remade::new(stream, split)),
            None => Box::new(Nothing),
        }
    }

    fn at(spot: &Spot, token: &Token) -> Option<Self> {
        let (parser, _) = Parser::behind(&spot.head, &spot.at)?;
        let mut sums = Fletcher::new(parser.order());
        let begin = Some(resuming(&spot.head, parser.order(), token, &mut sums));
        Some(Self { parser, sums, token: token.clone(), begin, had: true })
    }
}

impl Remakes for Split {
    fn push(&mut self, bytes: &[u8], remade: &mut Vec<u8>) -> Result<(), Broken> {
        remade.extend(self.begin.take().unwrap_or_default());
        let Self { parser, sums, token, had, .. } = self;
        parser.push(bytes, &mut |event| match event {
            Event::Record(record, head) => {
                *had = *had && is_in_front(&record.body, token);
                if !*had {
                    remade.extend(sealed(*head, record.body == Body::End, sums));
                }
            }
            Event::Payload(bytes) if !*had => {
                sums.add(bytes);
                remade.extend_from_slice(bytes);
            }
            _ => {}
        })
    }

    fn finish(&self) -> Result<(), Broken> {
        self.parser.finish()
    }
}

/// Whether a receiver that goes on there has this record.
fn is_in_front(body: &Body, token: &Token) -> bool {
    match body {
        Body::Write(block) | Body::WriteEmbedded(block) | Body::WriteByref(block) => {
            (block.object, block.offset) < (token.object, token.offset)
        }
        Body::Object { object } => (*object, 0) < (token.object, token.offset),
        Body::Free(extent) | Body::Redact(extent) => extent.object <= token.object,
        Body::Spill { object } => *object <= token.object,
        Body::FreeObjects { first, .. } | Body::ObjectRange { first, .. } => *first <= token.object,
        Body::Begin(_) | Body::End => false,
    }
}

/// The bit of a stream that goes on with an interrupted one, among the features of a BEGIN
/// (`DMU_BACKUP_FEATURE_RESUMING`).
const RESUMING: u64 = 1 << 20;
/// How far the features are from the lowest bit of the number that they are in.
const FEATURES: u32 = 2;

/// A BEGIN that says where it goes on, and its list.
fn resuming(head: &[u8; HEAD], order: Order, token: &Token, sums: &mut Fletcher) -> Vec<u8> {
    let number = |value| Value::Number(value);
    let list = List(vec![
        ("resume_object".to_owned(), number(token.object)),
        ("resume_offset".to_owned(), number(token.offset)),
    ]);
    let mut list = list.packed();
    list.resize(list.len().next_multiple_of(8), 0);
    let mut begin = *head;
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    begin[4..8].copy_from_slice(&order.bytes32(length));
    let version = order.u64(std::array::from_fn(|byte| begin[16 + byte]));
    begin[16..24].copy_from_slice(&order.bytes(version | RESUMING << FEATURES));
    sums.add(&begin);
    sums.add(&list);
    [&begin[..], &list].concat()
}
