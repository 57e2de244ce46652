//! What the bytes of a stream tell of it, where there is a reader for its format.

use reseed_core::reader::{Place, StreamReader};
use reseed_core::{Error, registry};

use crate::format::Stream;

/// Why the bytes of a stream are not those that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// They are damaged, or not all.
    #[error("{0}")]
    Damaged(String),
    /// They are another stream than its source has said.
    #[error("{0}")]
    Another(String),
}

/// Judges one stream as its bytes come. Of bytes that nobody here can read it says nothing.
#[derive(Debug, Default)]
pub struct Judge {
    reader: Option<Box<dyn StreamReader>>,
    guid: String,
    from_guid: Option<String>,
}

impl Judge {
    /// A judge of this stream of a storage.
    pub fn of(storage: &str, stream: &Stream) -> Self {
        let reader = registry::reader(storage).filter(|_| stream.encodings.is_empty());
        Self { reader, guid: stream.guid.clone(), from_guid: stream.from_guid.clone() }
    }

    /// A judge of what follows a place in this stream of a storage.
    ///
    /// # Errors
    /// When no stream of the storage has such a place.
    pub(super) fn behind(storage: &str, stream: &Stream, place: &Place) -> reseed_core::Result<Self> {
        let resumption = registry::resumption(storage)
            .ok_or_else(|| Error::failed(format!("no stream of {storage} can be gone on with in its middle")))?;
        let (guid, from_guid) = (stream.guid.clone(), stream.from_guid.clone());
        Ok(Self { reader: Some(resumption.reader(place)?), guid, from_guid })
    }

    /// Judges the next bytes. After an error nothing more may be pushed.
    ///
    /// # Errors
    /// Why they can't belong to a sound stream, with the number of the record and its place.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.reader.as_mut().map_or(Ok(()), |reader| reader.push(bytes)).map_err(|damage| damage.text)
    }

    /// Judges the end of the bytes.
    ///
    /// # Errors
    /// Why they are not all of the stream, or another one.
    pub fn finish(&mut self) -> Result<(), Unfit> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        reader.finish().map_err(|damage| Unfit::Damaged(damage.text))?;
        let seen = reader.seen();
        if seen.to_guid.as_ref().is_some_and(|guid| *guid != self.guid) || seen.from_guid != self.from_guid {
            let words = |from: &Option<String>, to: &str| match from {
                Some(from) => format!("an increment from {from} to {to}"),
                None => format!("the whole of {to}"),
            };
            let found = words(&seen.from_guid, seen.to_guid.as_deref().unwrap_or("nothing"));
            let said = words(&self.from_guid, &self.guid);
            return Err(Unfit::Another(format!("the stream is {found} and not {said}, as its source has said")));
        }
        Ok(())
    }

    /// Bytes in front of the last place, among those that were pushed, at which the stream can be cut
    /// without cutting one of its records; `None` where that is not known.
    pub fn border(&self) -> Option<u64> {
        self.reader.as_ref().map(|reader| reader.border())
    }

    /// The last place among those bytes at which the stream can be gone on with.
    pub(super) fn place(&self) -> Option<Place> {
        self.reader.as_ref()?.place()
    }
}
