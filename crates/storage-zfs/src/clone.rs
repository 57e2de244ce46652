//! The stage `zfs-clone`.

mod make;
mod plan;
mod seats;
mod switch;

pub(crate) use make::BASE;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Ref};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, StaysPristine};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result, register_stage};
use reseed_storage::ends;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::check;
use crate::place::Naming;
use crate::shared::{FORMAT, Received};

/// Clones what was received, beside it and writable, so that it can be configured while the live
/// server still serves: the received datasets stay pristine, and a clone takes no space but for
/// what is changed in it. For datasets whose content was not sent there are fresh, empty ones. The
/// switch then renames the live datasets aside, to `NAME-reseed-old-RUN`, and the clones to their
/// names; the clones take over the properties that were set on the live ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CloneConfig {
    /// The host that holds the copy; by default the one that received it.
    on: Option<Ref>,
    /// For the first seeding, when no dataset is mounted at the data's place yet: the name of the
    /// one to be made for the main part, for example `data/pgsql`. Those below it on the source
    /// get names below it. Where a live dataset is there, its name is taken.
    #[serde(rename = "as")]
    as_: Option<Located<String>>,
    /// For the first seeding, names of those that are not below the main one: dataset of the
    /// source = dataset to be made.
    #[serde(default)]
    map: BTreeMap<String, Located<String>>,
}

register_stage!(CloneConfig);

impl StageConfig for CloneConfig {
    const NAME: &'static str = "zfs-clone";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let main = self.as_.as_ref().map(|name| check::dataset(name, cx));
        let map = check::map(self.map, cx);
        let host = self.on.as_ref().map(|name| cx.host(Some(name)));
        let main = main.map_or(Some(None), |main| main.map(Some))?;
        let host = host.map_or(Some(None), |host| host.map(Some))?;
        Some(Arc::new(Cloner { host, naming: Naming { main, map: map? } }))
    }
}

#[derive(Debug)]
struct Cloner {
    host: Option<Arc<dyn Host>>,
    naming: Naming,
}

#[async_trait]
impl Stage for Cloner {
    fn name(&self) -> &str {
        CloneConfig::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        ends::takes_received(FORMAT, input, "zfs-receive")
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.host.as_ref().map_or("local", |host| host.name());
        let claim = |name: &String| Claim { what: "dataset", host: host.to_owned(), name: name.clone() };
        self.naming.main.iter().chain(self.naming.map.values()).map(claim).collect()
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
        let received = received.ok_or_else(|| {
            Error::failed("nothing pristine was received that could be cloned")
                .hint("say `into` and not `over` in the stage zfs-receive")
        })?;
        let copies = make::make(&received, &self.naming, cx).await?;
        Ok(input.with(Payload::Dataset(Arc::new(copies))))
    }
}
