//! The stage `pg-start`, and what it shares with `pg-switch`.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Period, Ref};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload};
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::again::same_primary;
use super::configure::{server, source};
use super::intact;
use super::judge::{claim, judge};
use super::log::Mark;
use super::old_slot;
use super::power::Raised;
use super::proof::{Goal, prove};
use super::stop::{StoppedAt, default_timeout};
use super::survey::{Standby, standby};
use super::undo::{StopNew, mark};
use crate::cluster::Cluster;
use crate::facts::Backup;
use crate::service::Server;

/// Starts the standby on the data that was received over it, and proves it: in recovery, streaming
/// from its upstream by its slot, replayed past the end of the backup. A start that can't be proven
/// fails the run, named by its cause from the server's log, and everything is taken back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartConfig {
    /// The standby, from `[clusters]`.
    cluster: Ref,
    /// How long start and proof may take together, with the replay of the WAL that the copy holds.
    /// What waiting can't mend fails at once. Default: `5m`.
    #[serde(default = "default_timeout")]
    timeout: Period,
    /// What the standby must show. `streaming`, the default: it streams from its primary and has replayed
    /// past the end of the backup. `consistent`: it has recovered to a consistent state and answers
    /// queries, read-only; for a copy from a repository whose primary can't be reached. That it streams is
    /// then not proven, and the report says so.
    #[serde(default)]
    proof: Goal,
}

register_stage!(StartConfig);

impl StageConfig for StartConfig {
    const NAME: &'static str = "pg-start";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        Some(Arc::new(Start { cluster, timeout: self.timeout, proof: self.proof }))
    }
}

#[derive(Debug)]
struct Start {
    cluster: Arc<Cluster>,
    timeout: Period,
    proof: Goal,
}

/// The kind that a dataset becomes when its server is proven.
pub(crate) fn becomes_a_standby(input: &Kind) -> Result<Kind, Box<Mismatch>> {
    match input {
        Kind::Dataset(_) => Ok(Kind::Standby),
        other => Err(Mismatch::new("a dataset", other, Kind::Standby).hint("it starts what was received")),
    }
}

#[async_trait]
impl Stage for Start {
    fn name(&self) -> &str {
        "pg-start"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        becomes_a_standby(input)
    }

    fn locks(&self) -> Vec<Claim> {
        self.cluster.locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.cluster.host))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        claim(cx);
        cx.board().put(self.proof);
        standby(&self.cluster, cx).await.map(drop)
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let standby = standby(&self.cluster, cx).await?;
        judge(&standby, cx).await?;
        server(&standby).map(drop)
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let standby = standby(&self.cluster, cx).await?;
        let server = server(&standby)?;
        let backup = Backup::seen_from(&input.facts, cx)?;
        if server.look().await?.is_some() {
            let error = format!("a server already runs in {}", standby.data_directory);
            return Err(Error::failed(error).hint("put `pg-stop` before the stage that receives"));
        }
        same_primary(&standby, &*source(cx)?, Some(&server.data_directory), cx).await?;
        mark(server, &server.data_directory, cx.run_id()).await?;
        start_and_prove(server, &standby, backup.as_ref(), self.timeout, cx).await?;
        Ok(input.with(Payload::Standby))
    }
}

/// Starts the server on the copy, which bears the run's mark, proves it and reports how long the
/// standby did not serve.
///
/// # Errors
/// When it can't be proven, named by its cause.
pub(crate) async fn start_and_prove(
    server: &Server,
    standby: &Standby,
    backup: Option<&Backup>,
    timeout: Period,
    cx: &StageCx,
) -> Result<()> {
    let ((), log) = tokio::try_join!(intact::check(server, backup), Mark::of(server))?;
    let until = Instant::now() + timeout.0;
    cx.go_on()?;
    cx.arm(StopNew { server: server.clone(), run: cx.run_id().to_owned(), timeout: timeout.0 })?;
    let Raised { up, settled } = server.raise(&log, timeout.0).await?;
    let (proven, ()) = tokio::join!(prove(server, &up, backup, &log, until, cx), settled);
    proven?;
    if let Some(stopped) = cx.board().get::<StoppedAt>() {
        let down = up.at.duration_since(stopped.0).as_secs_f64();
        cx.report(|report| report.downtime_seconds = Some(down));
    }
    if Goal::of(cx.board()) == Goal::Consistent {
        cx.report(|report| report.streaming = Some(false));
    }
    old_slot::see_to(standby, backup, cx)
}
