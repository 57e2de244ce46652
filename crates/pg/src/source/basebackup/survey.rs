//! What `pg-basebackup` finds out before anything is touched.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::incremental::{self, Choice, Kept};
use super::tools::{self, Tool};
use super::{Basebackup, DATA, part};
use crate::cluster::{Cluster, Primary};
use crate::facts::{Layout, Source};
use crate::service;
use crate::session::{self, Session, permission_denied};
use crate::source::server::Server;
use crate::source::survey::{note, source, warn_of_slots};
use crate::target::survey::standby;

/// What will be taken, as far as it is known before: on the board for the stage that receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Whether it is an increment of what the receiver keeps.
    pub incremental: bool,
    /// Whether a later backup can be an increment of this one, if the receiver keeps it.
    pub can_be_base: bool,
    /// Size of the whole cluster in bytes without its WAL, where the role may know it.
    pub bytes: Option<u64>,
}

/// On the board from the survey on, for this stage itself.
#[derive(Debug)]
pub(super) struct Taking {
    /// The source's name in the pipeline file.
    pub name: String,
    pub server: Server,
    pub source: Source,
    pub bytes: Option<u64>,
    pub choice: Choice,
    pub tool: Tool,
    /// The server that the copy is for, with the programs and the user that take it.
    pub standby: service::Server,
    pub password: Option<String>,
}

/// What only the source can tell.
struct Told {
    server: Server,
    bytes: Option<u64>,
    summarizes: bool,
}

/// Asks the server and the standby's machine, and leaves on the board what others need.
pub(super) async fn survey(stage: &Basebackup, cx: &CheckCx) -> Result<()> {
    let session = Session::connect(&stage.cluster, &super::application(cx.run_id())).await?;
    let surveyed = with(&session, stage, cx).await;
    session.close().await;
    surveyed
}

async fn with(session: &Session, stage: &Basebackup, cx: &CheckCx) -> Result<()> {
    let told = ask(session, &stage.cluster, cx).await?;
    let layout = Layout { data_directory: DATA.to_owned(), wal_directory: None, tablespaces: vec![] };
    let source = source(&told.server, layout, &stage.cluster)?;
    note(&told.server, &source, cx);
    cx.board().put(Primary(stage.cluster.clone()));
    cx.board().put(source.clone());
    let standby = standby(&stage.standby, cx).await?;
    let server = standby.server.clone();
    let server = server.ok_or_else(|| Error::refused("nothing tells which programs take the backup"))?;
    let tool = tools::find(&server, "pg_basebackup", source.major()).await?;
    // Asks the receiver, which leaves what it keeps on the board.
    cx.holdings(&[part(&stage.cluster.name, cx.run_id())]).await?;
    let kept = cx.board().get::<Kept>();
    let possible = incremental::possible(stage.incremental, source.major(), told.summarizes);
    let can_be_base = possible.is_ok();
    let choice = match possible {
        Ok(()) => incremental::choose(session, &source, kept.as_deref()).await?,
        Err(why) => Err(why),
    };
    let choice = Choice::new(stage.incremental, choice);
    let incremental = choice.base().is_some();
    cx.board().put(Announced { incremental, can_be_base, bytes: told.bytes });
    let (name, password) = (stage.cluster.name.clone(), session::password(&stage.cluster)?);
    let Told { server: told, bytes, .. } = told;
    cx.board().put(Taking { name, server: told, source, bytes, choice, tool, standby: server, password });
    Ok(())
}

async fn ask(session: &Session, cluster: &Cluster, cx: &CheckCx) -> Result<Told> {
    let server = Server::read(session).await?;
    warn_of_slots(session, cx).await?;
    let bytes = size(session).await?;
    if bytes.is_none() {
        let text = "may not see how big the databases are, so free space is not checked";
        cx.note(format!("the role of {} {text} (GRANT pg_monitor TO it)", cluster.name));
    }
    let sql = "SELECT coalesce(current_setting('summarize_wal', true), 'off') = 'on'";
    Ok(Told { server, bytes, summarizes: session.value(sql, &[]).await? })
}

/// Bytes of all databases; `None` where the role may not know.
async fn size(session: &Session) -> Result<Option<u64>> {
    let sql = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database";
    match session.value::<i64>(sql, &[]).await {
        Ok(bytes) => Ok(u64::try_from(bytes).ok()),
        Err(error) if permission_denied(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
