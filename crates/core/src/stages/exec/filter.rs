//! A command that a stream goes through.

use std::sync::Arc;

use async_trait::async_trait;

use super::NAME;
use super::program::{Program, is_there};
use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Body, Reach, StreamItem};
use crate::registry::codec_program;
use crate::stage::{CheckCx, Filter, StageCx, no_rule};
use crate::stages::here;
use crate::{Encoding, Error, Kind, Mismatch, Result, StreamKind};

#[derive(Debug)]
pub(super) struct ExecFilter {
    pub(super) program: Program,
    pub(super) on: Option<Arc<dyn Host>>,
    pub(super) encodes: Option<Encoding>,
    pub(super) decodes: Option<Encoding>,
}

impl ExecFilter {
    /// What the command makes of a stream.
    fn change(&self, kind: StreamKind) -> Result<StreamKind, StreamKind> {
        let given = kind.clone();
        let mut kind = kind.settled();
        if let Some(decodes) = &self.decodes
            && kind.encodings.pop().as_ref() != Some(decodes)
        {
            return Err(given);
        }
        kind.encodings.extend(self.encodes.clone());
        Ok(kind)
    }

    /// Refuses another machine than the one where the stream is.
    fn check_place(&self, host: &dyn Host) -> Result<()> {
        match self.on.as_deref().filter(|on| on.name() != host.name()) {
            None => Ok(()),
            Some(on) => {
                let text = format!(
                    "the stream is on {} here, but `{}` is to run on {}",
                    host.name(),
                    self.program.name(),
                    on.name()
                );
                Err(Error::refused(text).hint("leave `on` out, or put the stage on the other side of the transfer"))
            }
        }
    }
}

#[async_trait]
impl Filter for ExecFilter {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        self.change(input.clone()).map_err(|given| {
            let decodes = self.decodes.as_ref().map(Encoding::as_str).unwrap_or_default();
            Mismatch::new(
                format!("a stream with {decodes} outermost"),
                &Kind::Stream(given.clone()),
                Kind::Stream(given),
            )
        })
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let host = cx.stream_host().unwrap_or_else(here);
        self.check_place(host.as_ref())?;
        self.program.check_on(host.as_ref()).await?;
        if let Some(Kind::Stream(input)) = cx.input()
            && !host.is_local()
        {
            for program in input.asked().iter().filter_map(codec_program) {
                is_there(program, host.as_ref()).await?;
            }
        }
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        match cx.stream_host().filter(|host| !host.is_local()) {
            Some(host) => Err(no_rule(NAME, host.as_ref())),
            None => Ok(vec![]),
        }
    }

    async fn apply(&self, stream: StreamItem, cx: &StageCx) -> Result<StreamItem> {
        let host = match (&stream.body, stream.reach()) {
            (Body::Job { host, .. }, Reach::Here) => Arc::clone(host),
            _ => cx.stream_host().filter(|host| host.is_local()).unwrap_or_else(here),
        };
        let kind = self.change(stream.kind());
        let command = self.program.heard(&[], cx);
        let mut stream = stream.filtered_by(command, host, &cx.meters().stream)?;
        stream.header.encodings = kind.map_err(|given| Error::failed(format!("given {given}")))?.encodings;
        Ok(stream)
    }
}
