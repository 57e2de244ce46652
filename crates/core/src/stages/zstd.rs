//! The stages `zstd` and `unzstd`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::codec::{Codec, Zstd};
use crate::config::{BuildCx, Located, Problem};
use crate::item::{Body, StreamItem};
use crate::register_stage;
use crate::registry::StageConfig;
use crate::stage::{Filter, FilterStage, Stage, StageCx};
use crate::{Mismatch, Result, StreamKind};

/// Compresses streams with zstd. In front of a transport it runs on the sending machine, by reseed
/// itself or by the `zstd` program there; the transport decompresses on the receiving machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ZstdConfig {
    /// Compression level from 1 (fastest) to 19.
    #[serde(default = "default_level")]
    #[schemars(range(min = 1, max = 19))]
    level: Located<i32>,
}

fn default_level() -> Located<i32> {
    Located::nowhere(3)
}

/// Decompresses streams, where no transport has done it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnzstdConfig {}

register_stage!(ZstdConfig);
register_stage!(UnzstdConfig);

impl StageConfig for ZstdConfig {
    const NAME: &'static str = "zstd";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        if !(1..=19).contains(&*self.level) {
            cx.problem(Problem::at(self.level.span(), "zstd's levels go from 1 to 19"));
            return None;
        }
        Some(Arc::new(FilterStage(Compress(Arc::new(Zstd { level: *self.level })))))
    }
}

impl StageConfig for UnzstdConfig {
    const NAME: &'static str = "unzstd";

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(FilterStage(Decompress)))
    }
}

#[derive(Debug)]
struct Compress(Arc<Zstd>);

#[async_trait]
impl Filter for Compress {
    fn name(&self) -> &str {
        "zstd"
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        let mut output = input.clone();
        output.encodings.push(self.0.encoding());
        Ok(output)
    }

    async fn apply(&self, mut stream: StreamItem, _cx: &StageCx) -> Result<StreamItem> {
        stream.header.encodings.push(self.0.encoding());
        stream.pending.push(self.0.clone());
        Ok(stream)
    }
}

#[derive(Debug)]
struct Decompress;

#[async_trait]
impl Filter for Decompress {
    fn name(&self) -> &str {
        "unzstd"
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        let mut output = input.clone();
        match output.encodings.pop() {
            Some(encoding) if encoding == Zstd::ENCODING => Ok(output),
            _ => Err(Mismatch::new(
                "a stream that is compressed with zstd",
                &crate::Kind::Stream(input.clone()),
                crate::Kind::Stream(input.clone()),
            )),
        }
    }

    async fn apply(&self, mut stream: StreamItem, cx: &StageCx) -> Result<StreamItem> {
        stream.header.encodings.pop();
        // What was asked for and not done yet need not be done at all.
        if stream.pending.pop().is_none() {
            let header = stream.header.clone();
            let wrap = stream.wrap.take();
            let encoded = stream.open(Some(Arc::clone(&cx.meters().stream))).await?;
            let body = Body::Here(Zstd { level: 3 }.decode(encoded));
            return Ok(StreamItem { header, body, pending: vec![], wrap, watch: None });
        }
        Ok(stream)
    }
}
