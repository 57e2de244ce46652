//! What runs have left in a source, and what of it a standby uses.

use std::sync::Arc;

use reseed_core::Result;
use reseed_core::leftover::{Leftover, Leftovers, Stays};
use reseed_core::stage::CheckCx;

use crate::cluster::Cluster;
use crate::session::{Column, Session};
use crate::source::held::EndSession;
use crate::source::slot::{DropSlot, run_of};
use crate::target::survey::standby;

/// The name under which this looks.
const APPLICATION: &str = "reseed scan";

/// Sessions and slots on a source. A slot that somebody uses shows that its run is in use.
pub(crate) async fn on_source(cluster: &Arc<Cluster>) -> Result<Leftovers> {
    let session = Session::connect(cluster, APPLICATION).await?;
    let looked = look(&session, cluster).await;
    session.close().await;
    looked
}

async fn look(session: &Session, cluster: &Arc<Cluster>) -> Result<Leftovers> {
    let sql = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name ~ '^reseed-'";
    let mut told = Leftovers::default();
    for row in session.rows(sql, &[]).await? {
        let application: String = row.column(0)?;
        told.found.extend(open_session(cluster, application));
    }
    let sql = "SELECT slot_name::text, active FROM pg_replication_slots WHERE slot_name ~ '^reseed_' \
               AND slot_type = 'physical' ORDER BY slot_name";
    for row in session.rows(sql, &[]).await? {
        let (slot, active): (String, bool) = (row.column(0)?, row.column(1)?);
        let Some(run) = run_of(&slot) else { continue };
        if active {
            told.in_use.push((run.clone(), format!("a standby streams from the slot {slot}")));
        }
        let undo = Arc::new(DropSlot { cluster: Arc::clone(cluster), slot: slot.clone() });
        told.found.push(one("replication slot", cluster, slot, run, Stays::No, undo));
    }
    Ok(told)
}

fn open_session(cluster: &Arc<Cluster>, application: String) -> Option<Leftover> {
    let run = application.strip_prefix("reseed-").filter(|run| reseed_core::is_run_id(run))?.to_owned();
    let stays = Stays::Alive("it is open: its run may be alive elsewhere".to_owned());
    let undo = EndSession { place: Arc::default(), cluster: Arc::clone(cluster), application: application.clone() };
    Some(one("session", cluster, application, run, stays, Arc::new(undo)))
}

fn one(
    what: &'static str,
    cluster: &Cluster,
    name: String,
    run: String,
    stays: Stays,
    undo: Arc<dyn reseed_core::undo::Undo>,
) -> Leftover {
    Leftover { what, place: cluster.name.clone(), name, run, stays, undo }
}

/// Whose data the standby has, as its slot tells.
pub(crate) async fn on_target(cluster: &Arc<Cluster>, cx: &CheckCx) -> Result<Leftovers> {
    let standby = standby(cluster, cx).await?;
    let slot = standby.old.as_ref().and_then(|old| old.slot.clone());
    let used = slot.and_then(|slot| Some((run_of(&slot)?, format!("{} uses the slot {slot}", cluster.name))));
    Ok(Leftovers { found: vec![], in_use: used.into_iter().collect() })
}
