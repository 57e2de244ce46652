//! What brings streams from one machine to another.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::unexpected;
use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Item, Payload, StreamItem};
use crate::stage::{CheckCx, Stage, StageCx};
use crate::{Error, Kind, Mismatch, Result};

/// Brings streams from the machine that sends to the machine that receives.
///
/// A transport owns both ends of its wire: what the filters before it asked for (compression) is
/// done on the sending machine and undone on the receiving one. What is done already (encryption by
/// a command) travels as it is. A stream that is cut on the wire never ends cleanly.
#[async_trait]
pub trait Transport: Debug + Send + Sync {
    /// The stage's name.
    fn name(&self) -> &str;
    /// See [`Stage::scout`].
    async fn scout(&self, _cx: &CheckCx) {}
    /// See [`Stage::survey`].
    ///
    /// # Errors
    /// When it can't find out.
    async fn survey(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
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
    /// Puts one stream on the wire, lazily. Counts what crosses it.
    ///
    /// # Errors
    /// When the wire can't be laid.
    async fn carry(&self, stream: StreamItem, to: Arc<dyn Host>, cx: &StageCx) -> Result<StreamItem>;
}

/// A [`Transport`] as a stage.
#[derive(Debug)]
pub struct TransportStage<T>(pub T);

#[async_trait]
impl<T: Transport> Stage for TransportStage<T> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Stream(stream) => Ok(Kind::Stream(stream.clone().carried())),
            other => Err(Mismatch::new("a stream", other, other.clone())),
        }
    }

    fn carries(&self) -> bool {
        true
    }

    async fn scout(&self, cx: &CheckCx) {
        self.0.scout(cx).await;
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.0.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.check(cx).await
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.0.grants(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(self.name(), &input)) };
        let to = cx.next_host().ok_or_else(|| Error::failed("no later stage works on a machine"))?;
        let mut carried = Vec::with_capacity(streams.len());
        for stream in streams {
            carried.push(self.0.carry(stream, Arc::clone(&to), cx).await?);
        }
        Ok(Item { payload: Payload::Streams(carried), facts: input.facts })
    }
}
