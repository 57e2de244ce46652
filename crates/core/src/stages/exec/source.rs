//! A command that makes streams.

use std::sync::Arc;

use async_trait::async_trait;

use super::NAME;
use super::program::{Program, TakeBack, about};
use crate::host::Host;
use crate::item::{Item, Payload, SnapshotPart, StreamHeader, StreamItem};
use crate::stage::{CheckCx, Stage, StageCx, unexpected};
use crate::{Format, Kind, Mismatch, Result, StreamKind};

#[derive(Debug)]
pub(super) struct ExecSource {
    pub(super) program: Program,
    pub(super) on: Arc<dyn Host>,
    pub(super) format: Option<Format>,
    pub(super) sends: Sends,
    pub(super) undo: Option<Program>,
}

/// What is known of the stream of a command that is given no snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Sends {
    /// Identity of what it sends; the run's own where that is not known.
    pub(super) guid: Option<String>,
    /// Identity of what it starts from; `None` for a whole.
    pub(super) from_guid: Option<String>,
}

impl ExecSource {
    /// A stream of each part.
    fn streams(
        &self,
        format: &Format,
        parts: Vec<SnapshotPart>,
        from_guid: Option<&String>,
        cx: &StageCx,
    ) -> Vec<StreamItem> {
        let stream = |part| {
            let header = StreamHeader { from_guid: from_guid.cloned(), ..StreamHeader::new(part, format.clone()) };
            let command = self.program.heard(&about(&header, cx), cx);
            StreamItem::from_job(header, Arc::clone(&self.on), command.into())
        };
        parts.into_iter().map(stream).collect()
    }
}

/// What a stream that is of no snapshot of this run calls itself.
fn unnamed(guid: Option<&String>, cx: &CheckCx) -> SnapshotPart {
    let run = cx.run_id();
    let own = || run.bytes().map(|byte| format!("{byte:02x}")).collect();
    SnapshotPart {
        dataset: cx.pipeline().to_owned(),
        mountpoint: String::new(),
        snapshot: format!("reseed-{run}"),
        guid: guid.cloned().unwrap_or_else(own),
        main: true,
    }
}

#[async_trait]
impl Stage for ExecSource {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let gives = |format: &Format| Kind::Stream(StreamKind::plain(format.clone()));
        match (input, &self.format) {
            (Kind::Snapshot(format), _) if self.sends.guid.is_some() => {
                let mismatch = Mismatch::new("nothing, as it names a `guid` of its own", input, gives(format));
                Err(mismatch.hint("leave `guid` and `from_guid` out: the snapshot has its own"))
            }
            (Kind::Start | Kind::Snapshot(_), Some(format)) => Ok(gives(format)),
            (Kind::Snapshot(format), None) => Ok(gives(format)),
            (Kind::Start, None) => {
                let mismatch = Mismatch::new("a snapshot, as it names no `format`", input, gives(&Format::new("any")));
                Err(mismatch.hint("say what the command writes: `format = \"…\"`"))
            }
            (other, format) => {
                let format = format.clone().unwrap_or(Format::new("any"));
                Err(Mismatch::new("a snapshot, or to be the first stage", other, gives(&format)))
            }
        }
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.on))
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        self.program.check_on(self.on.as_ref()).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Sends { guid, from_guid } = &self.sends;
        let (given, parts, from_guid) = match &input.payload {
            Payload::Start => (None, vec![unnamed(guid.as_ref(), cx)], from_guid.as_ref()),
            Payload::Snapshot(set) => (Some(set.format.clone()), set.parts.clone(), None),
            _ => return Err(unexpected(NAME, &input)),
        };
        let Some(format) = self.format.clone().or(given) else { return Err(unexpected(NAME, &input)) };
        if let Some(undo) = &self.undo {
            cx.arm(TakeBack::new(undo, &self.on, cx))?;
        }
        let streams = self.streams(&format, parts, from_guid, cx);
        Ok(input.with(Payload::Streams(streams)))
    }
}
