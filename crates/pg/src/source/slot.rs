//! Physical replication slots that retain the WAL which a new standby will need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reseed_core::host::shell_quote;
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use crate::cluster::Cluster;
use crate::lsn::Lsn;
use crate::session::{Column, Session, sqlstate};

/// How long a walsender may take to let go of its slot once it was told to end.
const LET_GO: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The name under which these sessions show themselves.
const APPLICATION: &str = "reseed slot";

/// The slot of a run. Slots take letters, digits and `_` only.
pub(crate) fn name(run: &str) -> String {
    format!("reseed_{}", run.replace('-', "_"))
}

/// The run whose slot is called so; `None` where reseed did not make it.
pub(crate) fn run_of(slot: &str) -> Option<String> {
    let run = slot.strip_prefix("reseed_")?.replace('_', "-");
    reseed_core::is_run_id(&run).then_some(run)
}

/// Makes a slot that retains WAL from now on.
pub(crate) async fn create(session: &Session, name: &str) -> Result<()> {
    let sql = "SELECT slot_name::text FROM pg_create_physical_replication_slot($1::text::name, true)";
    let created = session.value::<String>(sql, &[&name]).await;
    created.map(drop).map_err(|error| error.context(format!("can't make the replication slot {name}")))
}

/// Where the WAL that a slot retains begins.
///
/// # Errors
/// When the slot is gone, or the server has removed WAL that it should retain.
pub(super) async fn restart_lsn(session: &Session, name: &str, major: u32) -> Result<Lsn> {
    // `wal_status` is there from 13 on.
    let sql = match major {
        13.. => "SELECT restart_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name::text = $1",
        _ => "SELECT restart_lsn::text, NULL::text FROM pg_replication_slots WHERE slot_name::text = $1",
    };
    let rows = session.rows(sql, &[&name]).await?;
    let Some(row) = rows.first() else {
        return Err(Error::failed(format!("the replication slot {name} has been dropped meanwhile")));
    };
    let (restart, status): (Option<String>, Option<String>) = (row.column(0)?, row.column(1)?);
    match (restart, status.as_deref()) {
        (Some(lsn), Some("reserved" | "extended") | None) => lsn.parse(),
        (_, status) => Err(Error::failed(format!(
            "the server gives up the WAL that the replication slot {name} retains (wal_status {})",
            status.unwrap_or("unknown")
        ))
        .hint("raise max_slot_wal_keep_size on the primary")),
    }
}

/// Drops a slot that nobody uses. Says whether it did: it does not where there is no such slot, or
/// where it is in use.
///
/// # Errors
/// When the server can't be asked, or refuses.
pub(crate) async fn drop_if_idle(cluster: &Cluster, name: &str) -> Result<bool> {
    let session = Session::connect(cluster, APPLICATION).await?;
    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
               WHERE slot_name::text = $1 AND NOT active";
    let dropped = session.rows(sql, &[&name]).await;
    session.close().await;
    match dropped {
        Ok(rows) => Ok(!rows.is_empty()),
        Err(error) if is(&error, &[SqlState::OBJECT_IN_USE, SqlState::UNDEFINED_OBJECT]) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Slots of earlier runs that no standby uses, with the bytes of WAL that they hold back.
pub(super) async fn abandoned(session: &Session) -> Result<Vec<(String, i64)>> {
    let sql = "SELECT slot_name::text, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
               THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint \
               FROM pg_replication_slots WHERE slot_name ~ '^reseed_' AND slot_type = 'physical' AND NOT active";
    session.rows(sql, &[]).await?.iter().map(|row| Ok((row.column(0)?, row.column(1)?))).collect()
}

fn is(error: &Error, states: &[SqlState]) -> bool {
    sqlstate(error).is_some_and(|state| states.contains(state))
}

/// Drops a run's slot, and first ends the walsender of a standby that was taken back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DropSlot {
    #[serde(with = "crate::cluster::by_name")]
    pub cluster: Arc<Cluster>,
    pub slot: String,
}

register_undo!("pg-drop-slot", DropSlot);

#[async_trait]
impl Undo for DropSlot {
    fn describe(&self) -> String {
        format!("drop the replication slot {} on {}", self.slot, self.cluster.name)
    }

    fn by_hand(&self) -> String {
        by_hand(&self.cluster, &format!("SELECT pg_drop_replication_slot('{}')", self.slot))
    }

    async fn undo(&self) -> Result<()> {
        let session = Session::connect(&self.cluster, APPLICATION).await?;
        let dropped = drop_for_sure(&session, &self.slot).await;
        session.close().await;
        dropped
    }
}

async fn drop_for_sure(session: &Session, name: &str) -> Result<()> {
    let until = Instant::now() + LET_GO;
    loop {
        let sql = "SELECT active_pid FROM pg_replication_slots WHERE slot_name::text = $1";
        let Some(row) = session.rows(sql, &[&name]).await?.into_iter().next() else { return Ok(()) };
        if let Some(pid) = row.column::<Option<i32>>(0)? {
            session.rows("SELECT pg_terminate_backend($1)", &[&pid]).await?;
        }
        match session.rows("SELECT pg_drop_replication_slot($1::text::name)", &[&name]).await {
            Err(error) if is(&error, &[SqlState::OBJECT_IN_USE]) && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) if is(&error, &[SqlState::UNDEFINED_OBJECT]) => return Ok(()),
            done => return done.map(drop),
        }
    }
}

/// A statement as the command that a person would type.
pub(super) fn by_hand(cluster: &Cluster, sql: &str) -> String {
    let conninfo = cluster.conninfo.as_deref().map(crate::session::Conninfo::parse);
    let shown = conninfo.and_then(Result::ok).map(|conninfo| conninfo.to_string()).unwrap_or_default();
    format!("psql {} -c {}", shell_quote(&shown), shell_quote(sql))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_slot_tells_its_run() {
        let run = "20260101t120000-00ab12";
        assert_eq!(super::run_of(&super::name(run)).as_deref(), Some(run));
        for other in
            ["reseed_", "reseed_standby", "standby_1", "20260101t120000_00ab12", "reseed_20260101t120000_00ab1"]
        {
            assert_eq!(super::run_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_slot_is_named_after_its_run_in_letters_that_slots_take() {
        let name = super::name("20260101t120000-00ab12");
        assert_eq!(name, "reseed_20260101t120000_00ab12");
        assert!(name.len() < 64 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    }
}
