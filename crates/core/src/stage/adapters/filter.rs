//! What changes streams on their way.

use std::fmt::Debug;

use async_trait::async_trait;

use super::unexpected;
use crate::guard::Grant;
use crate::item::{Item, Payload, StreamItem};
use crate::stage::{CheckCx, Stage, StageCx};
use crate::{Kind, Mismatch, Result, StreamKind};

/// Changes streams on their way.
#[async_trait]
pub trait Filter: Debug + Send + Sync {
    /// The stage's name.
    fn name(&self) -> &str;
    /// What comes out for what goes in. Pure.
    ///
    /// # Errors
    /// When it can't take this stream.
    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>>;
    /// See [`Stage::check`].
    ///
    /// # Errors
    /// A refusal.
    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
    /// See [`Stage::grants`].
    ///
    /// # Errors
    /// A refusal.
    async fn grants(&self, _cx: &CheckCx) -> Result<Vec<Grant>> {
        Ok(vec![])
    }
    /// Puts the filter on one stream, lazily: nothing is started or pulled here.
    ///
    /// # Errors
    /// When it can't be put on.
    async fn apply(&self, stream: StreamItem, cx: &StageCx) -> Result<StreamItem>;
}

/// A [`Filter`] as a stage.
#[derive(Debug)]
pub struct FilterStage<F>(pub F);

#[async_trait]
impl<F: Filter> Stage for FilterStage<F> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Stream(stream) => self.0.flow(stream).map(Kind::Stream),
            other => Err(Mismatch::new("a stream", other, other.clone())),
        }
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.check(cx).await
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.0.grants(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(self.name(), &input)) };
        let mut filtered = Vec::with_capacity(streams.len());
        for stream in streams {
            filtered.push(self.0.apply(stream, cx).await?);
        }
        Ok(Item { payload: Payload::Streams(filtered), facts: input.facts })
    }
}
