//! Stages for tests that move datasets and have no server: what stands before a snapshot and behind
//! a copy.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Ref};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, Piece, Wanted};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Stage, StageCx};
use reseed_core::{Kind, Mismatch, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

/// Wants one directory in the snapshot. Nothing is quiesced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BareSource {
    /// The host that the directory is on.
    on: Option<Ref>,
    /// The directory.
    directory: String,
}

register_stage!(BareSource);

impl StageConfig for BareSource {
    const NAME: &'static str = "bare-source";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let host = cx.host(self.on.as_ref())?;
        let piece = Piece { role: "data".to_owned(), path: self.directory, content: true };
        Some(Arc::new(Source { host, pieces: vec![piece] }))
    }
}

#[derive(Debug)]
struct Source {
    host: Arc<dyn Host>,
    pieces: Vec<Piece>,
}

#[async_trait]
impl Stage for Source {
    fn name(&self) -> &str {
        BareSource::NAME
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Quiesced)
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.host))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().put(Wanted(self.pieces.clone()));
        Ok(())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        Ok(input.with(Payload::Quiesced(self.pieces.clone())))
    }
}

/// Is content with any copy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BareEnd {}

register_stage!(BareEnd);

impl StageConfig for BareEnd {
    const NAME: &'static str = "bare-end";

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(End))
    }
}

#[derive(Debug)]
struct End;

#[async_trait]
impl Stage for End {
    fn name(&self) -> &str {
        BareEnd::NAME
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        Ok(input.with(Payload::Standby))
    }
}
