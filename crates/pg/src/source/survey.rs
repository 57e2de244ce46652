//! What `pg-quiesce` finds out before anything is touched.

use std::sync::Arc;

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::layout::{self, Inspection};
use super::server::Server;
use super::{held, identity, slot};
use crate::cluster::{Cluster, Primary};
use crate::facts::{Layout, Source};
use crate::session::{self, Session, identifier};

/// The newest major version that this was tried with.
const NEWEST: u32 = 18;
/// Bytes of WAL held back from which on it is worth a warning.
const WORTH: i64 = 1 << 30;

/// On the board from the survey on, for this stage itself.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub server: Server,
    pub source: Source,
}

/// Asks the server and its machine, and leaves on the board what others need.
pub(super) async fn survey(cluster: &Arc<Cluster>, wal_directory: Option<&str>, cx: &CheckCx) -> Result<()> {
    let session = Session::connect(cluster, &held::application(cx.run_id())).await?;
    let asked = ask(&session, cluster, wal_directory, cx).await;
    session.close().await;
    let Surveyed { server, source } = asked?;
    note(&server, &source, cx);
    note_place(&source.layout, cx);
    cx.board().put(layout::wanted(&source.layout, true));
    cx.board().put(Primary(Arc::clone(cluster)));
    cx.board().put(source.clone());
    cx.board().put(server.vitals);
    cx.board().put(Surveyed { server, source });
    Ok(())
}

async fn ask(session: &Session, cluster: &Cluster, wal_directory: Option<&str>, cx: &CheckCx) -> Result<Surveyed> {
    let (reached, server) = tokio::try_join!(session.reached(), Server::read(session))?;
    cx.note(format!("the server is reached {reached}"));
    let (layout, ()) = tokio::try_join!(find_layout(cluster, &server, wal_directory, cx), warn_of_slots(session, cx))?;
    let source = source(&server, layout, cluster)?;
    Ok(Surveyed { server, source })
}

/// What others need to know of the server.
pub(super) fn source(server: &Server, layout: Layout, cluster: &Cluster) -> Result<Source> {
    Ok(Source {
        system_identifier: server.vitals.system_identifier,
        version: server.version,
        timeline: server.vitals.timeline,
        layout,
        minimum_settings: server.minimum_settings.clone(),
        wal_segment_size: server.wal_segment_size,
        data_checksums: server.data_checksums,
        full_page_writes: server.full_page_writes,
        upstream: session::upstream(cluster, &server.role.name)?,
    })
}

/// Warns of slots of earlier runs that hold back much and help nobody.
pub(super) async fn warn_of_slots(session: &Session, cx: &CheckCx) -> Result<()> {
    for (name, bytes) in slot::abandoned(session).await?.into_iter().filter(|(_, bytes)| *bytes >= WORTH) {
        cx.warn(format!("nobody uses the replication slot {name}, which holds back {} MiB of WAL", bytes >> 20));
    }
    Ok(())
}

async fn find_layout(cluster: &Cluster, server: &Server, wal_directory: Option<&str>, cx: &CheckCx) -> Result<Layout> {
    let host = cluster.host.as_ref();
    let directory = data_directory(cluster, server)?;
    let (inspected, verified, configured, tablespaces) = tokio::join!(
        layout::inspect(host, directory),
        identity::verify(host, directory, server),
        configured(cluster),
        layout::tablespaces(host, &server.tablespaces),
    );
    let (found, verified) = match inspected? {
        Some(found) => (found, verified?),
        None => (stated(cluster, directory, wal_directory)?, false),
    };
    if !verified {
        cx.warn(format!("may not read {directory} on {}: that it is this server's is not verified", host.name()));
    }
    agree(cluster, configured, &found)?;
    refuse_strangers(&found, host.name())?;
    let layout = Layout { data_directory: found.data_directory, wal_directory: found.wal_directory, tablespaces };
    layout.check().map(|()| layout)
}

/// The data directory: what the server says, or, where the role may not see it, the configured one.
fn data_directory<'a>(cluster: &'a Cluster, server: &'a Server) -> Result<&'a str> {
    server.data_directory.as_deref().or(cluster.data_directory.as_deref()).ok_or_else(|| {
        let role = &server.role.name;
        Error::refused(format!("the role {role} may not see where the data directory is")).hint(format!(
            "GRANT pg_read_all_settings TO {};  or state it: `data_directory = \"…\"` in [clusters.{}]",
            identifier(role),
            cluster.name
        ))
    })
}

/// What is known of a directory that may not be looked into: only what the operator states.
fn stated(cluster: &Cluster, directory: &str, wal_directory: Option<&str>) -> Result<Inspection> {
    let host = cluster.host.name();
    let Some(wal) = wal_directory else {
        return Err(Error::refused(format!(
            "may not look into {directory} on {host}, so where pg_wal is stays unknown"
        ))
        .hint(format!(
            "give [hosts.{host}] `become = \"sudo\"`, or put its user into the server's group (chmod g+rx \
                 {directory}), or state it in pg-quiesce: `wal_directory = \"{directory}/pg_wal\"`"
        )));
    };
    let separate = wal != format!("{directory}/pg_wal");
    let wal_directory = separate.then(|| wal.to_owned());
    Ok(Inspection { data_directory: directory.to_owned(), wal_directory, strangers: vec![] })
}

/// The configured data directory, links resolved where that may be done.
async fn configured(cluster: &Cluster) -> Option<String> {
    let configured = cluster.data_directory.as_ref()?;
    Some(cluster.host.files().canonical(configured).await.unwrap_or_else(|_| configured.clone()))
}

/// Fails where the configured data directory is another than the server's.
fn agree(cluster: &Cluster, canonical: Option<String>, found: &Inspection) -> Result<()> {
    let (Some(configured), Some(canonical)) = (&cluster.data_directory, canonical) else { return Ok(()) };
    if canonical == found.data_directory {
        return Ok(());
    }
    let (name, is) = (&cluster.name, &found.data_directory);
    Err(Error::refused(format!("the cluster `{name}` is said to be in {configured}, but its server's is {is}"))
        .hint(format!("take `data_directory` out of [clusters.{name}], or mend its conninfo")))
}

fn refuse_strangers(found: &Inspection, host: &str) -> Result<()> {
    if found.strangers.is_empty() {
        return Ok(());
    }
    let (strangers, directory) = (found.strangers.join(", "), &found.data_directory);
    Err(Error::refused(format!(
        "{strangers} in {directory} on {host}: a link or a mount point of its own, which is neither pg_wal nor a \
         tablespace"
    ))
    .hint("move it back into the data directory, or make it a tablespace"))
}

/// Tells which server it is.
pub(super) fn note(server: &Server, source: &Source, cx: &CheckCx) {
    let kind = if server.vitals.in_recovery { "standby" } else { "primary" };
    let (major, minor) = (server.major(), server.version % 10_000);
    cx.note(format!(
        "{kind}: PostgreSQL {major}.{minor}, system identifier {}, timeline {}",
        source.system_identifier, source.timeline
    ));
    if major > NEWEST {
        cx.warn(format!("PostgreSQL {major} is newer than what this version of reseed was tried with ({NEWEST})"));
    }
}

fn note_place(layout: &Layout, cx: &CheckCx) {
    let wal = layout.wal_directory.as_deref().map(|path| format!(", pg_wal in {path}")).unwrap_or_default();
    let tablespaces: Vec<_> =
        layout.tablespaces.iter().map(|t| format!(", tablespace {} in {}", t.oid, t.path)).collect();
    cx.note(format!("data in {}{wal}{}", layout.data_directory, tablespaces.concat()));
}
