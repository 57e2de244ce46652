//! An advisory lock in the source's database: one run for one target at a time, wherever runs are started.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use crate::session::{Column, Session};
use crate::target::survey::Standby;

/// The first of the two keys of reseed's locks; it is of no meaning but to be always the same.
const CLASS: i32 = 0x7265_7365;

/// Takes the lock of the run's standby for as long as the session lasts; nothing where the run has none.
///
/// # Errors
/// When another session holds it, with the run that it is of and since when.
pub(super) async fn take(session: &Session, cx: &CheckCx) -> Result<()> {
    let Some(standby) = cx.board().get::<Standby>() else { return Ok(()) };
    let target = format!("{} {}", standby.cluster.host.machine().await?, standby.real_directory);
    let sql = "SELECT pg_try_advisory_lock($1::int4, hashtext($2::text))";
    if session.value::<bool>(sql, &[&CLASS, &target]).await? {
        return Ok(());
    }
    let sql = "SELECT coalesce(a.application_name, ''), coalesce(a.backend_start::text, '') FROM pg_locks l \
               LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
               AND l.classid::int8 = $1::int4 AND l.objid::int8::bit(32)::int4 = hashtext($2::text)";
    let rows = session.rows(sql, &[&CLASS, &target]).await?;
    let (who, since): (String, String) = match rows.first() {
        Some(row) => (row.column(0)?, row.column(1)?),
        None => Default::default(),
    };
    let text = format!("another run makes a backup for {}: {who} since {since}", standby.data_directory);
    Err(Error::failed(text).hint("wait for its end"))
}
