//! Beginning and ending a backup in the session that stays open.

use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};

use super::held::Held;
use super::survey::Surveyed;
use super::{slot, statements};
use crate::facts::{Backup, Mode};
use crate::lsn::Lsn;
use crate::session::{Column, Session, permission_denied};

/// Begins: backup mode, or a checkpoint before an atomic snapshot.
pub(super) async fn begin(session: &Session, on: &Surveyed, mode: Mode, fast: bool, cx: &StageCx) -> Result<()> {
    match mode {
        Mode::Backup => {
            let label = format!("reseed {}", cx.run_id());
            let started = session.value::<String>(statements::start(on.server.major()), &[&label, &fast]).await;
            let started = started.map_err(|error| error.context("the server does not begin a backup"))?;
            cx.note(format!("backup begun at {started}"));
            same_backend(session).await
        }
        // It only shortens what the standby replays.
        Mode::Atomic if fast && on.server.role.checkpoint => session.run("CHECKPOINT").await,
        Mode::Atomic => Ok(()),
    }
}

/// Ends what was begun, and completes what is known of the backup.
pub(super) async fn end(session: &Session, held: &Held, backup: &mut Backup) -> Result<()> {
    match backup.mode {
        Mode::Backup => stop(session, held.major, backup).await?,
        Mode::Atomic => backup.proof_lsn = Some(reached(session, held.vitals.in_recovery).await?),
    }
    verify_slot(session, held.major, backup).await
}

async fn stop(session: &Session, major: u32, backup: &mut Backup) -> Result<()> {
    same_backend(session).await?;
    let row = session.row(statements::stop(major), &[]).await?;
    let (label, map): (String, String) = (row.column(1)?, row.column(2)?);
    backup.proof_lsn = Some(row.column(0)?);
    backup.label = Some(label);
    backup.tablespace_map = Some(map).filter(|map| !map.is_empty());
    Ok(())
}

/// A pooler that gives another server process to each statement would void the backup.
async fn same_backend(session: &Session) -> Result<()> {
    if session.backend_pid().await? == session.pid() {
        return Ok(());
    }
    Err(Error::failed("the session is not one connection: a pooler is in between")
        .hint("let `conninfo` lead to the server itself"))
}

/// What a standby must have replayed to hold all that an atomic snapshot holds, asked after it.
///
/// The snapshot may hold WAL that was written and not yet flushed; a primary that then crashes loses
/// it, and the standby would be ahead on a history of its own. A commit of ours flushes it, and a
/// standby that streams past that commit is on the primary's own history.
pub(super) async fn reached(session: &Session, in_recovery: bool) -> Result<String> {
    if in_recovery {
        return session.value("SELECT pg_last_wal_replay_lsn()::text", &[]).await;
    }
    match session.rows("SELECT pg_logical_emit_message(true, 'reseed', '')", &[]).await {
        Ok(_) => session.value("SELECT pg_current_wal_flush_lsn()::text", &[]).await,
        // Where that right was taken away: written WAL is flushed within wal_writer_delay.
        Err(error) if permission_denied(&error) => session.value("SELECT pg_current_wal_lsn()::text", &[]).await,
        Err(error) => Err(error),
    }
}

/// The slot must retain everything that the copy does not hold.
async fn verify_slot(session: &Session, major: u32, backup: &Backup) -> Result<()> {
    let Some(name) = &backup.slot else { return Ok(()) };
    let retained = slot::restart_lsn(session, name, major).await?;
    let Some(label) = backup.label.as_deref().filter(|_| !backup.wal_included) else { return Ok(()) };
    let start = start_location(label)?;
    if retained <= start {
        return Ok(());
    }
    Err(Error::failed(format!("the slot {name} retains WAL from {retained} on, the backup begins at {start} already")))
}

/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`
pub(super) fn start_location(label: &str) -> Result<Lsn> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "));
    let lsn = line.and_then(|rest| rest.split_whitespace().next());
    lsn.ok_or_else(|| Error::failed("the backup label names no START WAL LOCATION"))?.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_from_a_label() {
        let label = "START WAL LOCATION: 1A/2000028 (file 00000001000000000000001A)\n\
                     CHECKPOINT LOCATION: 1A/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
                     START TIME: 2026-01-01 12:00:00 UTC\nLABEL: reseed x\nSTART TIMELINE: 1\n";
        assert_eq!(start_location(label).unwrap().to_string(), "1A/2000028");
        assert!(start_location("LABEL: x\n").is_err());
    }
}
