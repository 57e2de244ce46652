//! An advisory lock in the source's database: one run for one target at a time, wherever runs are started.
//!
//! A session of its own holds it, from the first stage that asks the source until all stages of the run are done. One
//! that is lost is opened anew; where another run has the lock by then, this one ends. The server notices within half
//! a minute when the machine of a run is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::stage::{CheckCx, StageCx};
use reseed_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::held::application;
use crate::cluster::Cluster;
use crate::session::{Column, Session};
use crate::target::survey::Standby;

/// The first of the two keys of reseed's locks; it is of no meaning but to be always the same.
const CLASS: i32 = 0x7265_7365;
/// How often it is looked whether the session is still there.
const LOOK: Duration = Duration::from_secs(5);
/// How long the source may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the session of a run that has just ended may take to go.
const GOES: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(50);
/// So that the server soon notices that a machine is gone. Without effect on a local socket, which needs none.
const NOTICES: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// A standby that no other run may make meanwhile.
struct Target {
    /// What is locked: the same wherever the run is started.
    key: String,
    /// What it is called.
    name: String,
}

/// Holds the locks of the run's standbys until its stages are done; nothing where the run makes none.
///
/// # Errors
/// When another session holds one, with the run that it is of and since when.
pub(super) async fn hold(cluster: &Arc<Cluster>, cx: &StageCx) -> Result<()> {
    let targets = targets(cx).await?;
    if targets.is_empty() {
        return Ok(());
    }
    let application = format!("{} lock", application(cx.run_id()));
    let keeper = Keeper { cluster: Arc::clone(cluster), targets, application, cx: cx.clone() };
    let session = tokio::select! {
        taken = keeper.take() => match taken? {
            Taken::Mine(session) => session,
            Taken::Anothers(error) => return Err(error),
        },
        () = cx.cancelled() => return Err(Error::cancelled()),
    };
    cx.watch(|over| keeper.run(session, over));
    Ok(())
}

/// The run's standby, or those of its branches.
async fn targets(cx: &CheckCx) -> Result<Vec<Target>> {
    let branches = cx.branches().into_iter().filter_map(|branch| branch.board.get::<Standby>());
    let standbys: Vec<_> = cx.board().get::<Standby>().into_iter().chain(branches).collect();
    let mut targets: Vec<Target> = vec![];
    for standby in standbys {
        let key = format!("{} {}", standby.cluster.host.machine().await?, standby.real_directory);
        if targets.iter().all(|known| known.key != key) {
            targets.push(Target { key, name: standby.data_directory.clone() });
        }
    }
    Ok(targets)
}

/// Keeps the locks of a run.
struct Keeper {
    cluster: Arc<Cluster>,
    targets: Vec<Target>,
    application: String,
    cx: StageCx,
}

/// What became of the locks.
enum Taken {
    /// All are held by this session.
    Mine(Session),
    /// Another run has one.
    Anothers(Error),
}

impl Keeper {
    /// Opens a session and takes all locks.
    async fn take(&self) -> Result<Taken> {
        let session = Session::connect(&self.cluster, &self.application).await?;
        session.run(NOTICES).await?;
        for target in &self.targets {
            if let Some(held) = take(&session, target).await? {
                session.close().await;
                // The server does not know yet that an earlier session of this run is gone.
                let mine = held.who == self.application;
                let error = held.error(target);
                return if mine { Err(error) } else { Ok(Taken::Anothers(error)) };
            }
        }
        Ok(Taken::Mine(session))
    }

    async fn run(self, session: Session, over: CancellationToken) -> Result<()> {
        let mut session = Some(session);
        let lost = over.run_until_cancelled(self.keep(&mut session)).await;
        if let Some(session) = session {
            session.close().await;
        }
        lost.map_or(Ok(()), Err)
    }

    /// Resolves when another run has a lock. While this machine alone can't ask the source, another one can take the
    /// locks: then only the lock on the machine that is changed keeps the two apart, until this run sees it.
    async fn keep(&self, session: &mut Option<Session>) -> Error {
        let mut told = false;
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(session) = session
                && is_alive(session).await
            {
                continue;
            }
            *session = None;
            let taken = tokio::time::timeout(PATIENCE, self.take()).await;
            match taken.unwrap_or_else(|_| Err(Error::failed(format!("no answer for {} s", PATIENCE.as_secs())))) {
                Ok(Taken::Mine(again)) => {
                    *session = Some(again);
                    self.cx.note("the advisory lock in the source's database is held again");
                    told = false;
                }
                Ok(Taken::Anothers(error)) => return error,
                Err(why) if !told => {
                    self.cx.warn(format!("the advisory lock in the source's database is lost: {why}"));
                    told = true;
                }
                Err(_) => {}
            }
        }
    }
}

async fn is_alive(session: &Session) -> bool {
    matches!(tokio::time::timeout(PATIENCE, session.value::<i32>("SELECT 1", &[])).await, Ok(Ok(_)))
}

/// Who holds a lock.
#[derive(Debug, Default)]
struct Held {
    who: String,
    since: String,
}

impl Held {
    fn error(&self, target: &Target) -> Error {
        let Self { who, since } = self;
        let who = who.strip_suffix(" lock").unwrap_or(who);
        let text = format!("another run makes the standby {}: {who} since {since}", target.name);
        Error::failed(text).hint("wait for its end")
    }
}

/// Takes a lock, or tells who holds it.
async fn take(session: &Session, target: &Target) -> Result<Option<Held>> {
    let begun = Instant::now();
    loop {
        let sql = "SELECT pg_try_advisory_lock($1::int4, hashtext($2::text))";
        if session.value::<bool>(sql, &[&CLASS, &target.key]).await? {
            return Ok(None);
        }
        let held = holder(session, target).await?;
        if begun.elapsed() >= GOES {
            return Ok(Some(held));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn holder(session: &Session, target: &Target) -> Result<Held> {
    let sql = "SELECT coalesce(a.application_name, ''), coalesce(a.backend_start::text, '') FROM pg_locks l \
               LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
               AND l.classid::int8 = $1::int4 AND l.objid::int8::bit(32)::int4 = hashtext($2::text)";
    let rows = session.rows(sql, &[&CLASS, &target.key]).await?;
    match rows.first() {
        Some(row) => Ok(Held { who: row.column(0)?, since: row.column(1)? }),
        None => Ok(Held::default()),
    }
}
