//! Stages that stand for a storage: scripts that write and read streams.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Ref};
use reseed_core::host::{Command, Host, Job};
use reseed_core::item::{Item, Payload, Placement, SnapshotPart, SnapshotSet, StreamHeader, StreamItem, Volume};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Sink, SinkStage, Source, SourceStage, Stage, StageCx};
use reseed_core::{Format, Kind, Mismatch, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

const FORMAT: Format = Format::new("test");

/// Takes nothing and gives a snapshot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SnapshotConfig {
    #[serde(default)]
    on: Option<Ref>,
}

/// Sends by a script.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendConfig {
    script: String,
    file: String,
}

/// Receives by a script.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceiveConfig {
    #[serde(default)]
    on: Option<Ref>,
    script: String,
    file: String,
}

register_stage!(SnapshotConfig);
register_stage!(SendConfig);
register_stage!(ReceiveConfig);

impl StageConfig for SnapshotConfig {
    const NAME: &'static str = "test-snapshot";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(Snapshot(cx.host(self.on.as_ref())?)))
    }
}

impl StageConfig for SendConfig {
    const NAME: &'static str = "test-send";

    fn build(self, _: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(SourceStage(self)))
    }
}

impl StageConfig for ReceiveConfig {
    const NAME: &'static str = "test-receive";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let host = cx.host(self.on.as_ref())?;
        Some(Arc::new(SinkStage(Receive { host, script: self.script, file: self.file })))
    }
}

fn job(script: &str, file: &str) -> Job {
    Command::new("sh").args(["-c", script, "sh", file]).into()
}

#[derive(Debug)]
struct Snapshot(Arc<dyn Host>);

#[async_trait]
impl Stage for Snapshot {
    fn name(&self) -> &str {
        "test-snapshot"
    }

    fn flow(&self, _: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Snapshot(FORMAT))
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.0))
    }

    async fn run(&self, input: Item, _: &StageCx) -> Result<Item> {
        let part = SnapshotPart {
            dataset: "data".into(),
            mountpoint: "/data".into(),
            snapshot: "one".into(),
            guid: "1".into(),
            main: true,
        };
        let set = SnapshotSet { host: Arc::clone(&self.0), format: FORMAT, parts: vec![part], left_out: vec![] };
        Ok(input.with(Payload::Snapshot(set)))
    }
}

#[async_trait]
impl Source for SendConfig {
    fn name(&self) -> &str {
        "test-send"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    async fn streams(&self, set: &SnapshotSet, _: &Holdings, _: &StageCx) -> Result<Vec<StreamItem>> {
        let header = StreamHeader::new(set.parts[0].clone(), FORMAT);
        Ok(vec![StreamItem::from_job(header, Arc::clone(&set.host), job(&self.script, &self.file))])
    }
}

#[derive(Debug)]
struct Receive {
    host: Arc<dyn Host>,
    script: String,
    file: String,
}

#[async_trait]
impl Sink for Receive {
    fn name(&self) -> &str {
        "test-receive"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host)
    }

    async fn holds(&self, _: &[SnapshotPart], _: &CheckCx) -> Result<Holdings> {
        Ok(Holdings::default())
    }

    async fn begin(&self, _: &StreamHeader, _: &StageCx) -> Result<Job> {
        Ok(job(&self.script, &self.file))
    }

    async fn verify(&self, _: &StreamHeader, _: &StageCx) -> Result<()> {
        Ok(())
    }

    async fn finish(&self, _: Vec<StreamHeader>, _: &StageCx) -> Result<Arc<dyn Volume>> {
        Ok(Arc::new(Nowhere(Arc::clone(&self.host))))
    }
}

#[derive(Debug)]
struct Nowhere(Arc<dyn Host>);

#[async_trait]
impl Volume for Nowhere {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.0)
    }

    fn locate(&self, _: &str) -> Option<String> {
        None
    }

    async fn take_place(&self, _: &Placement, _: &StageCx) -> Result<()> {
        Ok(())
    }
}
