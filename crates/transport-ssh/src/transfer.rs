//! The stage `ssh-transfer`.

mod guard;
mod hop;
mod probe;
mod rule;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Problem};
use reseed_core::guard::Grant;
use reseed_core::host::Host;
use reseed_core::item::{Body, StreamItem};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Stage, StageCx, Transport, TransportStage};
use reseed_core::{Encoding, Error, Kind, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use self::hop::{inbound, outbound};
use self::probe::{Facts, Means, Side, probe};

/// Brings streams from the machine that sends to the one that receives, over their hosts' SSH.
/// A `zstd` in front of it runs on the sending machine, and is undone on the receiving one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TransferConfig {
    /// What goes over the wire.
    #[serde(default)]
    wire: Wire,
    /// `reseed` on the far side, where it is not in the PATH.
    #[serde(default)]
    reseed_path: Option<Located<String>>,
}

/// What goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wire {
    /// The best of the others that the far side has.
    #[default]
    Auto,
    /// Frames with length and SHA-256 of the whole; `reseed` must be on the far side.
    Framed,
    /// The output of the `zstd` program of the far side.
    Zstd,
    /// The stream as it is.
    Plain,
}

register_stage!(TransferConfig);

const NAME: &str = "ssh-transfer";

impl StageConfig for TransferConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        if let Some(path) = self.reseed_path.as_ref().filter(|path| !path.starts_with('/')) {
            cx.problem(Problem::at(path.span(), "the path of a program on another machine begins with `/`"));
            return None;
        }
        let reseed = self.reseed_path.map_or_else(|| "reseed".to_owned(), Located::into_inner);
        Some(Arc::new(TransportStage(Transfer { wire: self.wire, reseed })))
    }
}

/// Carries streams over the SSH of their hosts.
#[derive(Debug)]
struct Transfer {
    wire: Wire,
    reseed: String,
}

/// What was found out about the two ends, by the name of the host.
#[derive(Debug, Clone, Default)]
struct Routes(Vec<(String, Side, Means)>);

impl Routes {
    fn means(&self, host: &dyn Host, side: Side) -> Option<Means> {
        self.0.iter().find(|(name, at, _)| name == host.name() && *at == side).map(|(_, _, means)| means.clone())
    }
}

/// What the scout found out about machines, by their names.
#[derive(Debug, Default)]
struct Found(Vec<(String, Facts)>);

impl Found {
    fn of(&self, host: &dyn Host) -> Option<Facts> {
        self.0.iter().find(|(name, _)| name == host.name()).map(|(_, facts)| facts.clone())
    }
}

/// The encodings that are asked for in front of this stage.
fn asked(cx: &CheckCx) -> Vec<Encoding> {
    match cx.input() {
        Some(Kind::Stream(stream)) => stream.asked().to_vec(),
        _ => vec![],
    }
}

/// The machines at both ends.
fn ends(cx: &CheckCx) -> [(Option<Arc<dyn Host>>, Side); 2] {
    [(cx.previous_host(), Side::Sending), (cx.next_host(), Side::Receiving)]
}

impl Transfer {
    /// Asks one end what it has, where it was not asked ahead, and picks the means.
    async fn route(&self, host: &dyn Host, side: Side, encodings: &[Encoding], cx: &CheckCx) -> Result<(Facts, Means)> {
        let facts = match cx.board().get::<Found>().and_then(|found| found.of(host)) {
            Some(facts) => facts,
            None => probe(host, &self.reseed, encodings).await?,
        };
        let means = facts.pick(self.wire, side, host.name(), encodings)?;
        Ok((facts, means))
    }

    async fn means(&self, host: &dyn Host, side: Side, encodings: &[Encoding], cx: &StageCx) -> Result<Means> {
        match cx.board().get::<Routes>().and_then(|routes| routes.means(host, side)) {
            Some(means) => Ok(means),
            None => Ok(self.route(host, side, encodings, cx).await?.1),
        }
    }
}

#[async_trait]
impl Transport for Transfer {
    fn name(&self) -> &str {
        NAME
    }

    async fn scout(&self, cx: &CheckCx) {
        let encodings = asked(cx);
        let far = ends(cx).into_iter().filter_map(|(host, _)| host.filter(|host| !host.is_local()));
        let mut found = Found::default();
        for host in far {
            if let Ok(facts) = probe(host.as_ref(), &self.reseed, &encodings).await {
                found.0.push((host.name().to_owned(), facts));
            }
        }
        cx.board().put(found);
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let encodings = asked(cx);
        let mut routes = Routes::default();
        for (host, side) in ends(cx) {
            let host = host.ok_or_else(|| Error::refused(format!("no stage works on the machine that is {side}")))?;
            if !host.is_local() {
                let (facts, means) = self.route(host.as_ref(), side, &encodings, cx).await?;
                cx.note(facts.describe(&means, side, host.name(), &encodings));
                routes.0.push((host.name().to_owned(), side, means));
            }
        }
        if routes.0.is_empty() {
            cx.note("both ends are on this machine: nothing crosses a wire");
        }
        cx.board().put(routes);
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        rule::grants(&self.reseed, cx)
    }

    async fn carry(&self, mut stream: StreamItem, to: Arc<dyn Host>, cx: &StageCx) -> Result<StreamItem> {
        let encodings = stream.kind().asked().to_vec();
        stream.header.encodings = stream.kind().carried().encodings;
        let mut pending = std::mem::take(&mut stream.pending);
        if encodings.len() != pending.codecs().len() {
            return Err(Error::failed("what was asked for is not what is still to be done to the stream"));
        }
        if let Body::Job { host, job } = &stream.body
            && !host.is_local()
        {
            let means = self.means(host.as_ref(), Side::Sending, &encodings, cx).await?;
            let here = inbound(&self.reseed, means, Arc::clone(host), job.clone(), &pending, cx.meters())?;
            stream.body = Body::Here(here);
            // Each pass is done once.
            pending = pending.without_passes();
        }
        if to.is_local() {
            // Nothing is encoded for a way within this machine, but what the bytes pass they still do.
            stream.pending = pending.passes();
            return Ok(stream);
        }
        let means = self.means(to.as_ref(), Side::Receiving, &encodings, cx).await?;
        outbound(&self.reseed, means, stream, &pending, cx.meters())
    }
}
