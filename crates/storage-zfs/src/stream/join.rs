//! Puts the two halves of a stream together that was cut off and gone on with by a
//! [`Token`](super::token::Token), so that they are received as one that was never cut.
//!
//! The first half is kept up to the place that the token names. The rest begins with a BEGIN of its own, which
//! is left out, and counts its checksums from there, so every one of them is written anew, as if the sender
//! had gone on. What else the rest repeats (the object in which it goes on) does the same a second time.

use super::broken::Broken;
use super::fletcher::Fletcher;
use super::parser::{Event, Parser};
use super::record::{Begin, Body, CHECKSUM, HEAD};
use super::{Order, Resumable};

/// Turns the rest of a stream into what follows its first half.
#[derive(Debug)]
pub struct Join {
    first: Begin,
    sums: Fletcher,
    parser: Parser,
    /// Whether the payload that comes is that of the BEGIN which is left out.
    skips: bool,
}

impl Join {
    /// After a first half that begins like this and is kept up to this place.
    pub fn after(first: &Begin, order: Order, place: &Resumable) -> Self {
        let sums = Fletcher::from(order, place.sums);
        Self { first: first.clone(), sums, parser: Parser::default(), skips: false }
    }

    /// Takes the next bytes of the rest and appends what they become.
    ///
    /// # Errors
    /// When the rest was altered, or is not the rest of that stream.
    pub fn push(&mut self, bytes: &[u8], joined: &mut Vec<u8>) -> Result<(), Broken> {
        let (first, sums, skips) = (&self.first, &mut self.sums, &mut self.skips);
        let mut other = None;
        let pushed = self.parser.push(bytes, &mut |event| match event {
            Event::Record(record, head) => match &record.body {
                Body::Begin(begin) => {
                    *skips = true;
                    other = differs(first, begin);
                }
                body => {
                    *skips = false;
                    joined.extend(sealed(*head, *body == Body::End, sums));
                }
            },
            Event::Payload(bytes) if !*skips => {
                sums.add(bytes);
                joined.extend_from_slice(bytes);
            }
            _ => {}
        });
        match other {
            Some(what) => Err(Broken::Other { record: 1, offset: 0, what }),
            None => pushed,
        }
    }

    /// Judges the end of the rest.
    ///
    /// # Errors
    /// When its own end did not come.
    pub fn finish(&self) -> Result<(), Broken> {
        self.parser.finish()
    }
}

/// How the rest is not one of this stream, in words.
fn differs(first: &Begin, rest: &Begin) -> Option<String> {
    let same = (rest.to_guid, rest.from_guid) == (first.to_guid, first.from_guid);
    if !same || rest.compound {
        return Some(format!("it sends {} ({:016x}) and is not the rest of {}", rest.name, rest.to_guid, first.name));
    }
    (!rest.features.has("resuming")).then(|| "it begins anew, and is not the rest of a stream".to_owned())
}

/// A head with its checksums as they are behind these sums.
pub(super) fn sealed(mut head: [u8; HEAD], ends: bool, sums: &mut Fletcher) -> [u8; HEAD] {
    if ends {
        put(&mut head, 8, sums);
    }
    sums.add(&head[..CHECKSUM]);
    put(&mut head, CHECKSUM, sums);
    sums.add(&head[CHECKSUM..]);
    head
}

fn put(head: &mut [u8; HEAD], at: usize, sums: &Fletcher) {
    for (sum, bytes) in sums.sums().into_iter().zip(head[at..at + 32].as_chunks_mut::<8>().0) {
        *bytes = sums.order().bytes(sum);
    }
}
