//! The stage `btrfs-clone`.

mod make;
mod plan;
mod switch;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Ref};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, StaysPristine};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result, register_stage};
use reseed_storage::ends;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::shared::{FORMAT, Received};

/// Takes writable snapshots of what was received, beside the live subvolumes, so that they can be
/// configured while the live server still serves: the received copies stay pristine, and a snapshot
/// takes no space but for what is changed in it. For subvolumes whose content was not sent there are
/// fresh, empty ones. The switch then renames the live subvolumes aside, to `NAME-reseed-old-RUN`,
/// and the new ones to their names. A place that is a mount point itself can't be switched so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CloneConfig {
    /// The host that holds the copy; by default the one that received it.
    on: Option<Ref>,
}

register_stage!(CloneConfig);

impl StageConfig for CloneConfig {
    const NAME: &'static str = "btrfs-clone";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let host = self.on.as_ref().map(|name| cx.host(Some(name)));
        let host = host.map_or(Some(None), |host| host.map(Some))?;
        Some(Arc::new(Cloner { host }))
    }
}

#[derive(Debug)]
struct Cloner {
    host: Option<Arc<dyn Host>>,
}

#[async_trait]
impl Stage for Cloner {
    fn name(&self) -> &str {
        CloneConfig::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        ends::takes_received(FORMAT, input, "btrfs-receive")
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.host.clone()
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        cx.board().take::<StaysPristine>();
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        plan::check(self, cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let received = cx.board().get::<Received>();
        let received = received.ok_or_else(|| Error::failed("nothing was received that could be cloned"))?;
        let copies = make::make(&received, cx).await?;
        Ok(input.with(Payload::Dataset(Arc::new(copies))))
    }
}
