//! What a receiver lacks of a stream that was cut off.

use std::sync::Arc;

use reseed_core::item::StreamHeader;
use reseed_core::reader::{Place, Resumption};
use reseed_core::stage::Holdings;
use reseed_core::stream::BoxStream;
use reseed_core::{Result, registry};

use crate::chunks::{Reading, read_from};
use crate::format::Stream;
use crate::store::Store;

/// Where a stream is gone on with.
pub(super) struct Rest {
    /// The first chunk of which the receiver lacks something.
    pub(super) chunk: usize,
    place: Place,
    token: String,
    resumption: &'static dyn Resumption,
}

/// Where this stream is gone on with, if the receiver has its beginning and that reaches to one of its chunks.
pub(super) fn of(stream: &Stream, storage: &str, held: &Holdings) -> Option<Rest> {
    let cut_off = held.cut_off(&stream.dataset)?;
    let resumption = registry::resumption(storage)?;
    if (&cut_off.guid, &cut_off.from_guid) != (&stream.guid, &stream.from_guid) {
        return None;
    }
    let (head, mut offset, mut found) = (stream.head.as_ref()?, 0, None);
    for (chunk, stored) in stream.chunks.iter().enumerate() {
        if let Some(state) = &stored.place {
            let place = Place { offset, head: head.clone(), state: state.clone() };
            if !resumption.leads_to(&place, &cut_off.token) {
                break;
            }
            found = Some((chunk, place));
        }
        offset += stored.size;
    }
    found.map(|(chunk, place)| Rest { chunk, place, token: cut_off.token.clone(), resumption })
}

impl Rest {
    /// What the receiver takes, and what it is told of it.
    pub(super) fn of(
        &self,
        header: StreamHeader,
        store: &Arc<dyn Store>,
        stream: &Stream,
        how: &Reading,
    ) -> Result<(StreamHeader, BoxStream)> {
        let estimate = stream.size.checked_sub(self.place.offset);
        let bytes = read_from(store, stream, self.chunk, how);
        let bytes = self.resumption.rest(&self.place, &self.token, bytes)?;
        Ok((StreamHeader { goes_on: true, estimate, ..header }, bytes))
    }
}
