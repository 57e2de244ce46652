//! A stream that goes wrong on purpose.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::Probe;
use crate::item::{Item, Payload, StreamItem, Wrap};
use crate::stage::{Stage, StageCx};
use crate::stream::{BoxStream, ByteStream, Deferred};
use crate::{Error, Kind, Mismatch, Result};

pub(super) const INJECTED: &str = "injected by the testkit";

/// What happens to a stream after some of its bytes.
pub enum Harm {
    /// It fails; where it ends before, it fails at its end.
    Breaks,
    /// It ends cleanly, whatever was still to come.
    Ends,
    /// Whoever pulls it panics.
    Panics,
    /// This is done, and the stream goes on.
    Acts(Box<dyn FnOnce() + Send>),
    /// This is done, and nothing comes any more.
    Hangs(Box<dyn FnOnce() + Send>),
}

impl fmt::Debug for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Breaks => "breaks",
            Self::Ends => "ends",
            Self::Panics => "panics",
            Self::Acts(_) => "acts",
            Self::Hangs(_) => "hangs",
        })
    }
}

/// The item with its first stream harmed after so many bytes. It is opened when it is first pulled; what a
/// transport asks of its receiver stays as it was.
pub fn harmed(item: Item, after: u64, harm: Harm) -> Item {
    changed(item, |stream| Box::new(Harmed { inner: stream, left: after, harm: Some(harm) }))
}

fn changed(item: Item, change: impl FnOnce(BoxStream) -> BoxStream) -> Item {
    let Item { payload: Payload::Streams(mut streams), facts } = item else { return item };
    if !streams.is_empty() {
        let stream = streams.remove(0);
        let (header, wrap) = (stream.header.clone(), stream.wrap.clone());
        let body = change(Deferred::boxed(stream.open(None)));
        streams.insert(0, StreamItem { wrap, ..StreamItem::here(header, body) });
    }
    Item { payload: Payload::Streams(streams), facts }
}

struct Harmed {
    inner: BoxStream,
    left: u64,
    harm: Option<Harm>,
}

#[async_trait]
impl ByteStream for Harmed {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut next = self.inner.next().await?;
        if let Some(length) = next.as_ref().map(|bytes| bytes.len() as u64).filter(|length| *length <= self.left) {
            self.left -= length;
            return Ok(next);
        }
        match self.harm.take() {
            None => Ok(next),
            // What came before the harm goes on first.
            Some(harm @ (Harm::Breaks | Harm::Ends | Harm::Panics)) if self.left > 0 && next.is_some() => {
                if let Some(bytes) = &mut next {
                    bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                }
                (self.left, self.harm) = (0, Some(harm));
                Ok(next)
            }
            Some(Harm::Breaks) => Err(Error::failed(INJECTED)),
            Some(Harm::Ends) => Ok(None),
            Some(Harm::Panics) => panic!("{INJECTED}"),
            Some(Harm::Acts(act)) => {
                act();
                Ok(next)
            }
            Some(Harm::Hangs(act)) => {
                act();
                std::future::pending().await
            }
        }
    }
}

/// A stage that harms the first stream that passes it, counts what is pulled of it, and may put another
/// receiver in the place of the one behind it.
pub(super) struct Between {
    probe: Probe,
    after: u64,
    harm: Mutex<Option<Harm>>,
    receiver: Option<Wrap>,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Between").field("after", &self.after).finish_non_exhaustive()
    }
}

impl Between {
    pub(super) fn new(probe: &Probe, harm: Option<(u64, Harm)>, receiver: Option<Wrap>) -> Self {
        let (after, harm) = harm.map_or((0, None), |(after, harm)| (after, Some(harm)));
        Self { probe: probe.clone(), after, harm: Mutex::new(harm), receiver }
    }
}

#[async_trait]
impl Stage for Between {
    fn name(&self) -> &str {
        "testkit"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        let harm = self.harm.lock().unwrap_or_else(PoisonError::into_inner).take();
        let item = match harm {
            Some(harm) => harmed(input, self.after, harm),
            None => input,
        };
        let mut item = changed(item, |stream| self.probe.on(stream));
        if let (Payload::Streams(streams), Some(receiver)) = (&mut item.payload, &self.receiver) {
            streams.iter_mut().for_each(|stream| stream.wrap = Some(Arc::clone(receiver)));
        }
        Ok(item)
    }
}
