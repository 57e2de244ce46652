//! The narrow traits that authors implement, each with one adapter to [`Stage`].

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{CheckCx, Holdings, Stage, StageCx};
use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Item, Payload, SnapshotSet, StreamItem};
use crate::{Error, Format, Kind, Mismatch, Result, StreamKind};

/// Turns snapshots into lazy streams.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The stage's name.
    fn name(&self) -> &str;
    /// The storage's format.
    fn format(&self) -> Format;
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
    /// One stream for each part, in the order in which they must be received, each an increment
    /// from the newest snapshot that both sides hold, or full. Nothing is started yet.
    ///
    /// # Errors
    /// When the storage can't be asked.
    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>>;
}

/// A [`Source`] as a stage.
#[derive(Debug)]
pub struct SourceStage<S>(pub S);

#[async_trait]
impl<S: Source> Stage for SourceStage<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let wanted = Kind::Snapshot(self.0.format());
        let gives = Kind::Stream(StreamKind { format: self.0.format(), encodings: vec![] });
        if *input == wanted { Ok(gives) } else { Err(Mismatch::new(format!("a {wanted}"), input, gives)) }
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
        let Payload::Snapshot(set) = &input.payload else { return Err(unexpected(self.name(), &input)) };
        let held = cx.holdings(&set.parts).await?;
        let streams = self.0.streams(set, &held, cx).await?;
        if streams.iter().all(|stream| stream.header.estimate.is_some()) {
            streams.iter().filter_map(|stream| stream.header.estimate).for_each(|bytes| cx.meters().expect(bytes));
        }
        Ok(input.with(Payload::Streams(streams)))
    }
}

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

pub(crate) fn unexpected(stage: &str, item: &Item) -> Error {
    Error::failed(format!("{stage} was given {:?}, which the fold over kinds should have refused", item.payload))
}
