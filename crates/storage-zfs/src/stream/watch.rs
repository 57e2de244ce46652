//! The reader as a part of a stream.

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::item::Pass;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};

use super::{Broken, Expected, Reader};

/// Under which only the whole stream that is expected ends cleanly.
#[derive(Debug)]
pub struct Whole(pub Expected);

impl Pass for Whole {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        Box::new(Watched { inner: stream, reader: Reader::of(self.0.clone()) })
    }

    fn reads(&self) -> bool {
        true
    }
}

struct Watched {
    inner: BoxStream,
    reader: Reader,
}

#[async_trait]
impl ByteStream for Watched {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let item = self.inner.next().await?;
        match &item {
            Some(bytes) => self.reader.push(bytes),
            None => self.reader.finish(),
        }
        .map_err(told)?;
        Ok(item)
    }
}

pub(super) fn told(broken: Broken) -> Error {
    let error = Error::failed(broken.to_string());
    match broken {
        Broken::Altered { .. } | Broken::Impossible { .. } => {
            error.hint("run it again; if it comes again, test the memory and `zpool scrub` both pools")
        }
        _ => error.hint("run it again"),
    }
}
