//! The stage `pg-release`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::item::Item;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{Ahead, CheckCx, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::backup;
use super::held::Held;
use super::vitals::Vitals;
use super::wal;
use crate::cluster::Primary;
use crate::facts::{Backup, Mode, Source};
use crate::session::Session;

/// Tells the source that the snapshot is taken: ends the backup that `pg-quiesce` began, keeps its
/// label for the copy, and notes how far a standby must get to count as good. Stands right after the
/// snapshot, not after the transfer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseConfig {}

register_stage!(ReleaseConfig);

impl StageConfig for ReleaseConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(Release))
    }
}

pub(super) const NAME: &str = "pg-release";

#[derive(Debug)]
struct Release;

#[async_trait]
impl Stage for Release {
    fn name(&self) -> &str {
        NAME
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Snapshot(_) => Ok(input.clone()),
            other => Err(Mismatch::new("a snapshot", other, other.clone())
                .hint("put pg-release right after the stage that takes the snapshot")),
        }
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        if cx.has_stage("pg-quiesce") {
            return Ok(());
        }
        Err(Error::refused("pg-release ends what no pg-quiesce began")
            .hint("begin the pipeline with `use = \"pg-quiesce\"`"))
    }

    async fn run(&self, mut input: Item, cx: &StageCx) -> Result<Item> {
        if cx.approaching() {
            // There was no backup: nothing runs on this snapshot, it is what the next increment starts from.
            return Ok(input);
        }
        let held = cx.board().take::<Held>().ok_or_else(|| Error::failed("there is no session of pg-quiesce"))?;
        let backup = input.facts.get::<Backup>()?;
        let mut backup = backup.ok_or_else(|| Error::failed("pg-quiesce left no backup behind"))?;
        let mut place = held.place.lock().await;
        // Until it is closed it stays where the undo finds it.
        let session = place.as_ref().filter(|session| !session.is_closed()).ok_or_else(void)?;
        release(session, &held, &mut backup, &cx.branches()).await?;
        if let Some(session) = place.take() {
            session.close().await;
        }
        cx.disarm(held.armed)?;
        if let Some(lsn) = &backup.proof_lsn {
            cx.note(format!("the standby counts as good once it has replayed past {lsn}"));
        }
        leave_wal(&input, &backup, cx)?;
        input.facts.put(&backup)?;
        Ok(input)
    }
}

/// Leaves the backup's WAL for the stage that keeps the copy: what is kept must do without the source.
fn leave_wal(input: &Item, backup: &Backup, cx: &StageCx) -> Result<()> {
    let (Some(source), Some(primary)) = (input.facts.get::<Source>()?, cx.board().get::<Primary>()) else {
        return Ok(());
    };
    if backup.mode == Mode::Backup && wal::is_kept(cx) {
        cx.board().put(wal::beside(backup, &source, &primary.0.host)?);
    }
    Ok(())
}

async fn release(session: &Session, held: &Held, backup: &mut Backup, branches: &[Ahead]) -> Result<()> {
    let ended = backup::end(session, held, backup, branches).await;
    ended.map_err(|error| if session.is_closed() { void().because(error) } else { error })?;
    Vitals::read(session).await?.unchanged_since(held.vitals)
}

fn void() -> Error {
    Error::failed("the session that began the backup has died, so the snapshot is void")
        .hint("see the source's log for who ended it, and run it again")
}
