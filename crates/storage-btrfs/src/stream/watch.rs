//! The judge as a part of a stream.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::item::Watch;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Result};

use super::{Broken, Expected, Verifier};

/// A watch under which only the whole stream that is expected ends cleanly.
pub fn watch(expected: Expected) -> Watch {
    Arc::new(move |inner| Box::new(Watched { inner, verifier: Verifier::new(expected.clone()) }) as BoxStream)
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
