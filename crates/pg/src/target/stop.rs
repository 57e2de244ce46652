//! The stage `pg-stop`.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Period, Problem, Ref};
use reseed_core::host::Host;
use reseed_core::item::Item;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::again::seen_again;
use super::configure::source;
use super::judge::{claim, judge};
use super::survey::{Standby, standby};
use super::undo::StartAgain;
use crate::cluster::Cluster;
use crate::service::{Server, StopMode};

/// Stops the standby and waits until it is down. If the run fails later, it is started again. For
/// the classic order, in which the copy is received over the live data; `pg-switch` stops by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopConfig {
    /// The standby, from `[clusters]`.
    cluster: Ref,
    /// How it is asked to stop: `fast` (the default) ends the clients' sessions, `smart` waits for
    /// them to go, `immediate` stops as a crash does. `systemd`, `freebsd` and `command` stop as
    /// they do; there it must be `fast`.
    #[serde(default)]
    mode: Option<Located<StopMode>>,
    /// How long it may take to go down, and to come up again if the run fails. Default: `5m`.
    #[serde(default = "default_timeout")]
    timeout: Period,
}

register_stage!(StopConfig);

/// Long enough for a shutdown's checkpoint, and for the recovery after a start.
pub(crate) fn default_timeout() -> Period {
    Period::seconds(300)
}

impl StageConfig for StopConfig {
    const NAME: &'static str = "pg-stop";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        let mode = self.mode.as_ref().map(|mode| **mode).unwrap_or_default();
        if let Some(place) = self.mode.filter(|_| mode != StopMode::Fast && !cluster.service.has_stop_modes()) {
            let problem = Problem::at(place.span(), format!("this service knows no mode `{}`", mode.name()));
            cx.problem(problem.hint("`pg-ctl` and `pg-ctlcluster` do"));
            return None;
        }
        Some(Arc::new(Stop { cluster, mode, timeout: self.timeout }))
    }
}

#[derive(Debug)]
struct Stop {
    cluster: Arc<Cluster>,
    mode: StopMode,
    timeout: Period,
}

/// On the board once the run has begun to stop a standby that served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoppedAt(pub(crate) Instant);

#[async_trait]
impl Stage for Stop {
    fn name(&self) -> &str {
        "pg-stop"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    fn locks(&self) -> Vec<Claim> {
        self.cluster.locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.cluster.host))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        claim(cx);
        standby(&self.cluster, cx).await.map(drop)
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        judge(&*standby(&self.cluster, cx).await?, cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let standby = standby(&self.cluster, cx).await?;
        seen_again(&standby, &*source(cx)?, None, cx).await?;
        match &standby.server {
            Some(server) if stop(server, &standby, self.mode, self.timeout, cx).await? => {}
            _ => cx.note(format!("no server runs in {}", standby.data_directory)),
        }
        Ok(input)
    }
}

/// Stops the standby's server, so that it is started again if the run fails. Says whether one ran.
///
/// # Errors
/// When it is still up at the end of the time.
pub(crate) async fn stop(
    server: &Server,
    standby: &Standby,
    mode: StopMode,
    timeout: Period,
    cx: &StageCx,
) -> Result<bool> {
    let Some(running) = server.look().await? else { return Ok(false) };
    cx.go_on()?;
    cx.arm(StartAgain { server: server.clone(), timeout: timeout.0 })?;
    cx.board().put(StoppedAt(Instant::now()));
    let halted = server.halt(&running, mode, timeout.0).await;
    halted.map_err(|e: Error| e.context(format!("stopping the server in {}", standby.data_directory)))?;
    Ok(true)
}
