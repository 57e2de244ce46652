//! A source that is known from a repository alone, and the primary that a copy of it shall follow.

use std::sync::Arc;

use reseed_core::host::{Command, Job, through};
use reseed_core::item::{FilesBeside, StagedFacts};
use reseed_core::stage::{Board, CheckCx, StageCx};
use reseed_core::{Error, Result};

use super::configure::source;
use super::copy::Copy;
use super::proof::Goal;
use crate::cluster::{Cluster, Primary};
use crate::facts::{Backup, Source};
use crate::lsn::Lsn;
use crate::session::{Column, Conninfo, Session, permission_denied, upstream};
use crate::source::guard::{self, Allowance};
use crate::source::slot::{self, DropSlot};
use crate::source::{Vitals, minimum_settings};

/// The primary that the standby shall follow, where no stage works on it: put on the board while
/// surveying, before it is asked anything.
#[derive(Debug, Clone)]
pub(crate) struct Followed(pub(crate) Arc<Cluster>);

/// What was found when the followed primary was asked; not there where it can't be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    /// Its timeline then.
    pub(crate) timeline: u32,
}

/// Whether the source is known from a repository.
pub(crate) fn is_staged(board: &Board) -> bool {
    board.get::<StagedFacts>().is_some()
}

/// The primary as the stages of the target may ask it by SQL.
pub(crate) fn primary(board: &Board) -> Option<Arc<Cluster>> {
    let surveyed = board.get::<Primary>().map(|primary| Arc::clone(&primary.0));
    surveyed.or_else(|| board.get::<Followed>().map(|followed| Arc::clone(&followed.0)))
}

/// Puts on the board what the repository keeps of the source, where no stage has asked the source.
///
/// # Errors
/// A refusal where the repository keeps nothing of it.
pub(crate) fn learn(cx: &CheckCx) -> Result<()> {
    let board = cx.board();
    let Some(staged) = board.get::<StagedFacts>().filter(|_| board.get::<Source>().is_none()) else { return Ok(()) };
    let missing = || {
        Error::refused("what is in the repository tells nothing of a PostgreSQL server")
            .hint("begin the pipeline that puts it there with `pg-quiesce`, and put it once more")
    };
    let kept: Source = staged.0.get().map_err(Error::into_refusal)?.ok_or_else(missing)?;
    kept.check().map_err(|error| error.context("what the repository tells of the source"))?;
    // How others reached the source is no way for this machine.
    let upstream = match board.get::<Followed>() {
        Some(followed) => way_to(&followed.0)?,
        None => String::new(),
    };
    cx.note(format!(
        "from the repository: PostgreSQL {}.{}, system identifier {}, timeline {}",
        kept.major(),
        kept.version % 10_000,
        kept.system_identifier,
        kept.timeline
    ));
    board.put(Source { upstream, ..kept });
    Ok(())
}

fn way_to(cluster: &Cluster) -> Result<String> {
    let conninfo = cluster.conninfo.as_deref().map(Conninfo::parse).transpose()?;
    let user = conninfo.as_ref().and_then(|conninfo| conninfo.get("user"));
    let user = user.ok_or_else(|| {
        Error::refused(format!("[clusters.{}] does not say as whom its standby connects", cluster.name))
            .hint(format!("add `conninfo = \"host=… user=… dbname=postgres\"` to [clusters.{}]", cluster.name))
    })?;
    upstream(cluster, user)
}

/// Asks the followed primary whether a copy from the repository can follow it, and notes what it says.
///
/// # Errors
/// A refusal; where the standby need not stream, being out of reach is none.
pub(crate) async fn check(cx: &CheckCx) -> Result<()> {
    let Some(followed) = cx.board().get::<Followed>() else { return Ok(()) };
    if !is_staged(cx.board()) {
        let error = "`primary` of pg-configure is for streams from a repository; here pg-quiesce names the primary";
        return Err(Error::refused(error).hint("take `primary` out of the stage pg-configure"));
    }
    let goal = Goal::of(cx.board());
    let session = match Session::connect(&followed.0, "reseed check").await {
        Ok(session) => session,
        Err(error) if goal == Goal::Consistent => {
            cx.warn(format!("the primary can't be reached, so the standby will serve and not stream: {error}"));
            return Ok(());
        }
        Err(error) => {
            let refusal = error.context("the standby could not stream: its primary can't be reached").into_refusal();
            return Err(refusal.hint("to do without the primary: `proof = \"consistent\"` in the stage that starts it"));
        }
    };
    let judged = judge(&session, goal, cx).await;
    session.close().await;
    judged.map_err(Error::into_refusal)
}

async fn judge(session: &Session, goal: Goal, cx: &CheckCx) -> Result<()> {
    let kept = source(cx)?;
    let now = Vitals::read(session).await?;
    if now.system_identifier != kept.system_identifier {
        return Err(Error::refused(format!(
            "the repository holds another cluster than the primary's: its system identifier is {}, the primary's {}",
            kept.system_identifier, now.system_identifier
        ))
        .hint("see `url` of the repository and `conninfo` of the primary"));
    }
    let version = session.value::<i32>("SELECT current_setting('server_version_num')::int", &[]).await?.cast_unsigned();
    if version / 10_000 != kept.major() {
        let text = format!("the repository holds PostgreSQL {}, the primary runs {}", kept.major(), version / 10_000);
        return Err(Error::refused(text).hint("run the pipeline that puts into the repository once more"));
    }
    if now.timeline < kept.timeline {
        let text = format!("the primary is on timeline {}, the copy on {} already", now.timeline, kept.timeline);
        return Err(Error::refused(text).hint("name the server that is the primary now in `conninfo`"));
    }
    match wal_is_there(session, &kept, cx).await {
        Err(gone) if goal == Goal::Consistent => cx.warn(format!("the standby will serve and not stream: {gone}")),
        judged => judged?,
    }
    let minimum_settings = highest(&kept.minimum_settings, minimum_settings(session, version).await?);
    cx.board().put(Source { minimum_settings, ..Source::clone(&kept) });
    cx.board().put(Reached { timeline: now.timeline });
    Ok(())
}

/// What a standby must not have lower: as the copy was made, and as it is now.
fn highest(kept: &[(String, i64)], now: Vec<(String, i64)>) -> Vec<(String, i64)> {
    let before = |name: &str| kept.iter().find(|(known, _)| known == name).map_or(i64::MIN, |(_, value)| *value);
    now.into_iter().map(|(name, value)| (name.clone(), value.max(before(&name)))).collect()
}

/// That the primary still has the WAL from where the copy ends.
async fn wal_is_there(session: &Session, source: &Source, cx: &CheckCx) -> Result<()> {
    let staged = cx.board().get::<StagedFacts>();
    let backup = staged.map(|staged| staged.0.get::<Backup>()).transpose()?.flatten();
    let Some(ends) = backup.and_then(|backup| backup.proof_lsn) else { return Ok(()) };
    let needed = ends.parse::<Lsn>()?.0 / source.wal_segment_size.max(1);
    let sql = "SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'";
    let rows = match session.rows(sql, &[]).await {
        Err(error) if permission_denied(&error) => {
            cx.note("the role may not see which WAL the primary has (GRANT pg_monitor): not looked at");
            return Ok(());
        }
        rows => rows?,
    };
    let oldest = rows.first().map(|row| row.column::<Option<String>>(0)).transpose()?.flatten();
    match oldest.and_then(|name| number(&name, source.wal_segment_size)) {
        Some(oldest) if oldest > needed => {
            let text = format!("the primary has removed the WAL from {ends} on, where the newest copy ends");
            Err(Error::refused(text).hint(
                "run the pipeline that puts into the repository once more, then this one; a higher wal_keep_size \
                 on the primary gives more time",
            ))
        }
        _ => Ok(()),
    }
}

/// The number of a segment, from the last 16 digits of its name.
fn number(digits: &str, size: u64) -> Option<u64> {
    let half = |range| u64::from_str_radix(digits.get(range)?, 16).ok();
    Some(half(0..8)? * ((1u64 << 32) / size.max(1)) + half(8..16)?)
}

/// Makes the run's slot on the followed primary, where that was reached: from then on nothing is removed
/// there that the standby still needs.
///
/// # Errors
/// When it can't be made.
pub(crate) async fn make_slot(cx: &StageCx) -> Result<Option<String>> {
    let (Some(followed), Some(_)) = (cx.board().get::<Followed>(), cx.board().get::<Reached>()) else {
        return Ok(None);
    };
    let name = slot::name(cx.run_id());
    cx.arm(DropSlot { cluster: Arc::clone(&followed.0), slot: name.clone() })?;
    let session = Session::connect(&followed.0, "reseed slot").await?;
    let made = slot::create(&session, &name).await;
    session.close().await;
    made?;
    let major = cx.board().get::<Source>().map_or(0, |source| source.major());
    guard::watch(&followed.0, &[(None, name.clone())], Allowance::default(), major, cx);
    Ok(Some(name))
}

/// Writes what it is given into the file `$1`, of its directory's owner; not through a link.
const WRITE: &str = r#"set -eu
own=$(ls -ldn -- "$(dirname -- "$1")" | awk '{print $3 ":" $4}')
umask 077; rm -f -- "$1"; cat > "$1"
[ "$(id -u)" != 0 ] || chown "$own" "$1""#;

/// Puts the WAL that was kept beside the data into `directory`, where the copy's `pg_wal` is now.
///
/// # Errors
/// When a segment can't be read or written.
pub(crate) async fn put_wal(copy: &Copy, directory: &str, cx: &StageCx) -> Result<()> {
    let Some(files) = cx.board().get::<FilesBeside>().filter(|_| is_staged(cx.board())) else { return Ok(()) };
    for file in &files.0 {
        if file.name.len() != 24 || !file.name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::failed(format!("`{}` of the repository is no WAL segment", file.name.escape_debug())));
        }
        let write = Command::script(WRITE).arg(format!("{directory}/{}", file.name)).as_root();
        let mut written = through(Arc::clone(&copy.host), Job::from(write), (file.open)());
        while written.next().await?.is_some() {}
        cx.go_on()?;
    }
    if !files.0.is_empty() {
        cx.note(format!("{} WAL segments of the backup come from the repository", files.0.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_numbered_across_logs() {
        assert_eq!(number("0000000100000002", 16 << 20), Some(258));
        assert_eq!(number("000000010000000Z", 16 << 20), None);
    }

    #[test]
    fn the_higher_of_two_minimums_counts() {
        let pair = |name: &str, value| (name.to_owned(), value);
        let kept = [pair("max_connections", 100), pair("max_wal_senders", 10)];
        let now = vec![pair("max_connections", 50), pair("max_wal_senders", 20), pair("max_worker_processes", 8)];
        let most = [pair("max_connections", 100), pair("max_wal_senders", 20), pair("max_worker_processes", 8)];
        assert_eq!(highest(&kept, now), most);
    }
}
