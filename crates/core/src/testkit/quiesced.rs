//! A source that is ready for a snapshot.

use std::sync::Arc;

use async_trait::async_trait;

use crate::item::{Item, Payload, Piece, Wanted};
use crate::stage::{CheckCx, Stage, StageCx};
use crate::{Kind, Mismatch, Result};

/// A stage with which a pipeline begins whose source is these directories and always ready for a snapshot. The
/// first one is the main one.
pub fn quiesced(directories: &[&str]) -> Arc<dyn Stage> {
    let piece = |path: &&str| Piece { role: (*path).to_owned(), path: (*path).to_owned(), content: true };
    Arc::new(Ready(directories.iter().map(piece).collect()))
}

#[derive(Debug)]
struct Ready(Vec<Piece>);

#[async_trait]
impl Stage for Ready {
    fn name(&self) -> &str {
        "testkit-quiesced"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Start => Ok(Kind::Quiesced),
            other => Err(Mismatch::new("the start of a pipeline", other, Kind::Quiesced)),
        }
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().put(Wanted(self.0.clone()));
        Ok(())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        Ok(input.with(Payload::Quiesced(self.0.clone())))
    }
}
