//! The judge as a part of a stream.

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::item::Pass;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};

use super::{Broken, Expected, Verifier};

/// Under which only the whole stream that is expected ends cleanly.
#[derive(Debug)]
pub struct Whole(pub Expected);

impl Pass for Whole {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        Box::new(Watched { inner: stream, verifier: Verifier::new(self.0.clone()) })
    }

    fn reads(&self) -> bool {
        true
    }
}

struct Watched {
    inner: BoxStream,
    verifier: Verifier,
}

#[async_trait]
impl ByteStream for Watched {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let item = self.inner.next().await?;
        match &item {
            Some(bytes) => self.verifier.push(bytes),
            None => self.verifier.finish(),
        }
        .map_err(told)?;
        Ok(item)
    }
}

fn told(broken: Broken) -> Error {
    let error = Error::failed(broken.to_string());
    match broken {
        Broken::Altered { .. } | Broken::Length { .. } => {
            error.hint("run it again; if it comes again, test the memory and `btrfs scrub start` both file systems")
        }
        _ => error.hint("run it again"),
    }
}
