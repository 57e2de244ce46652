//! A command that keeps streams.

use std::sync::Arc;

use async_trait::async_trait;

use super::NAME;
use super::program::{Program, TakeBack, about};
use crate::host::{Host, linked};
use crate::item::{Item, Payload, SnapshotPart};
use crate::stage::{CheckCx, Holding, Holdings, Stage, StageCx, receive, report_received, unexpected};
use crate::{Kind, Mismatch, Result, StreamKind};

#[derive(Debug)]
pub(super) struct ExecSink {
    pub(super) program: Program,
    pub(super) on: Arc<dyn Host>,
    pub(super) undo: Option<Program>,
}

#[async_trait]
impl Stage for ExecSink {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            // What was asked for is done before the command sees the stream.
            Kind::Stream(stream) => Ok(Kind::Staged(stream.clone().settled())),
            other => Err(Mismatch::new("a stream", other, other.clone())),
        }
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.on))
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        self.program.check_on(self.on.as_ref()).await
    }

    /// Nothing that an increment could start from: reseed can't look into what a command keeps.
    async fn holds(&self, wanted: &[SnapshotPart], _cx: &CheckCx) -> Result<Option<Holdings>> {
        let holding = |part: &SnapshotPart| Holding::of(&part.dataset, vec![]);
        let target = format!("{} on {}", self.program.name(), self.on.name());
        Ok(Some(Holdings::at(target, wanted.iter().map(holding).collect())))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(NAME, &input)) };
        if let Some(undo) = &self.undo {
            cx.arm(TakeBack::new(undo, &self.on, cx))?;
        }
        let mut kept: Option<StreamKind> = None;
        for stream in streams {
            let header = stream.header.clone();
            kept = Some(stream.kind().settled());
            let command = self.program.heard(&about(&header, cx), cx);
            receive(stream, self.on.as_ref(), linked(command.into()), cx).await?;
            report_received(&header, cx);
        }
        let Some(kept) = kept else { return Err(crate::Error::failed("there is no stream to keep")) };
        Ok(Item { payload: Payload::Staged(kept), facts: input.facts })
    }
}
