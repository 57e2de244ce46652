//! The stage `pg-switch`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Period, Ref};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, Placement, Places};
use reseed_core::leftover::Leftovers;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::again::seen_again;
use super::configure::{server, source};
use super::judge::{claim, judge};
use super::proof::Goal;
use super::start::{becomes_a_standby, start_and_prove};
use super::stop::{default_timeout, stop};
use super::survey::standby;
use super::undo::mark;
use crate::cluster::Cluster;
use crate::facts::Backup;
use crate::service::StopMode;

/// Puts the copy in the place of the old standby: stops that one, lets the storage exchange the
/// data, starts the copy and proves it. The standby serves until here; right before the stop it is
/// checked once more that nothing was promoted meanwhile. If anything fails, the old data is put
/// back and the old standby started, as it was.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SwitchConfig {
    /// The standby, from `[clusters]`.
    cluster: Ref,
    /// How long the old standby's data is kept after the run. `0s` keeps it not at all. Default: `24h`.
    #[serde(default = "default_keep_old")]
    keep_old: Period,
    /// How long the stop may take, and then start and proof together, with the replay of the WAL that
    /// the copy holds. What waiting can't mend fails at once. Default: `5m`.
    #[serde(default = "default_timeout")]
    timeout: Period,
    /// What the standby must show. `streaming`, the default: it streams from its primary and has replayed
    /// past the end of the backup. `consistent`: it has recovered to a consistent state and answers
    /// queries, read-only; for a copy from a repository whose primary can't be reached. That it streams is
    /// then not proven, and the report says so.
    #[serde(default)]
    proof: Goal,
}

register_stage!(SwitchConfig);

fn default_keep_old() -> Period {
    Period::seconds(24 * 3600)
}

impl StageConfig for SwitchConfig {
    const NAME: &'static str = "pg-switch";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        Some(Arc::new(Switch { cluster, keep_old: self.keep_old, timeout: self.timeout, proof: self.proof }))
    }
}

#[derive(Debug)]
struct Switch {
    cluster: Arc<Cluster>,
    keep_old: Period,
    timeout: Period,
    proof: Goal,
}

#[async_trait]
impl Stage for Switch {
    fn name(&self) -> &str {
        "pg-switch"
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
        server(&standby)?;
        let missing = || Error::refused("nothing tells where the copy goes").hint("put `pg-configure` in front");
        cx.board().need::<Places>(missing).map(drop)
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        crate::leftovers::on_target(&self.cluster, cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Dataset(volume) = &input.payload else {
            return Err(Error::failed("pg-switch was given something that is no dataset"));
        };
        let (source, standby) = (source(cx)?, standby(&self.cluster, cx).await?);
        let server = server(&standby)?;
        let backup = Backup::seen_from(&input.facts, cx)?;
        let places = cx.board().get::<Places>().ok_or_else(|| Error::failed("nothing tells where the copy goes"))?;
        let copy = volume.locate(&source.layout.data_directory);
        let copy = copy.ok_or_else(|| Error::failed("the data directory is not in what was received"))?;
        let marked = mark(server, &copy, cx.run_id());
        tokio::try_join!(marked, seen_again(&standby, &source, Some(&copy), cx))?;
        if !stop(server, &standby, StopMode::Fast, self.timeout, cx).await? {
            cx.note(format!("no server runs in {}", standby.data_directory));
        }
        let placement = Placement { places: places.0.clone(), keep_old: self.keep_old.0 };
        volume.take_place(&placement, cx).await?;
        start_and_prove(server, &standby, backup.as_ref(), self.timeout, cx).await?;
        Ok(input.with(Payload::Standby))
    }
}
