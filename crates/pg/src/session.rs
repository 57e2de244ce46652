//! A connection to a server, over SQL.

mod conninfo;
mod dial;
mod endpoint;
mod errors;
mod password;
mod tls;
mod uri;

use std::time::Duration;

use reseed_core::{Error, Result};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

pub use conninfo::Conninfo;
pub(crate) use errors::{permission_denied, sqlstate};

use crate::cluster::Cluster;
use endpoint::Endpoint;

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How long a closed session is given to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What every session of reseed sets first. A time limit would cut a backup short; names are looked
/// up in the system's own schema only; parallel workers would not see the backup (9.6 and later).
const SETTINGS: &str = "SET search_path = pg_catalog; \
     SET max_parallel_workers_per_gather = 0; \
     SET synchronous_commit = local; \
     SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
     'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

/// One connection to a server. It ends when it is closed or dropped.
///
/// Statements that are awaited together are sent together and done in the order in which they were first
/// polled: on a long way, that is the time of one.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
    pid: i32,
    server: String,
}

impl Session {
    /// Connects by the cluster's `conninfo`; `application` is the name that the server shows.
    ///
    /// # Errors
    /// When there is no `conninfo`, or the server does not take the connection.
    pub async fn connect(cluster: &Cluster, application: &str) -> Result<Self> {
        let endpoint = Endpoint::of(cluster)?;
        let (client, driver) = dial::dial(&endpoint, application).await?;
        let mut session = Self { client, driver, pid: 0, server: endpoint.to_string() };
        // Sent together, done in this order.
        let ((), pid) = tokio::try_join!(session.run(SETTINGS), session.backend_pid())?;
        session.pid = pid;
        Ok(session)
    }

    /// How the connection is made, in words: over which version of TLS, or without.
    ///
    /// # Errors
    /// When the session is dead.
    pub async fn reached(&self) -> Result<String> {
        let sql = "SELECT CASE WHEN ssl THEN 'over ' || version WHEN client_addr IS NULL THEN 'by a local socket' \
                   ELSE 'without TLS' END FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                   WHERE pid = pg_backend_pid()";
        self.value(sql, &[]).await
    }

    /// Process id of the server's side of this session, as it was at the beginning.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Process id of the server's side now: another one means that a pooler is in between.
    ///
    /// # Errors
    /// When the session is dead.
    pub async fn backend_pid(&self) -> Result<i32> {
        self.value("SELECT pg_backend_pid()", &[]).await
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What the server says, or that the connection is gone.
    pub async fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.client.query(sql, params).await.map_err(|error| errors::asking(&self.server, error))
    }

    /// The one row of a query.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and when there is not exactly one.
    pub async fn row(&self, sql: &str, params: Params<'_>) -> Result<Row> {
        self.client.query_one(sql, params).await.map_err(|error| errors::asking(&self.server, error))
    }

    /// The first column of the one row of a query.
    ///
    /// # Errors
    /// As [`row`](Self::row), and when the column has another type.
    pub async fn value<T>(&self, sql: &str, params: Params<'_>) -> Result<T>
    where
        T: for<'r> tokio_postgres::types::FromSql<'r>,
    {
        self.row(sql, params).await?.column(0)
    }

    /// Runs statements that give no rows.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| errors::asking(&self.server, error))
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the session: politely, or, if a statement is still under way, at once.
    pub async fn close(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        if tokio::time::timeout(GOODBYE, &mut driver).await.is_err() {
            driver.abort();
        }
    }
}

/// Reads columns with errors instead of panics.
pub trait Column {
    /// The column at this position.
    ///
    /// # Errors
    /// When there is none, or of another type.
    fn column<T>(&self, at: usize) -> Result<T>
    where
        T: for<'r> tokio_postgres::types::FromSql<'r>;
}

impl Column for Row {
    fn column<T>(&self, at: usize) -> Result<T>
    where
        T: for<'r> tokio_postgres::types::FromSql<'r>,
    {
        self.try_get(at).map_err(|error| Error::failed("the server's answer has another shape").because(error))
    }
}

/// That a connection string can be used: before anything runs, without the environment.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn understood(text: &str) -> Result<()> {
    endpoint::understood(text).map(drop)
}

/// A cluster's connection string for the WAL receiver of its standby: without a password, and with
/// the user that reseed itself connected as.
///
/// # Errors
/// When there is no `conninfo`.
pub(crate) fn upstream(cluster: &Cluster, user: &str) -> Result<String> {
    Ok(Endpoint::of(cluster)?.upstream(user).to_string())
}

/// A name as SQL takes it.
pub(crate) fn identifier(name: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The password by which reseed itself logs in at a cluster's server, wherever it comes from, for a
/// program that does so too. Never put it among a program's arguments.
///
/// # Errors
/// When there is no `conninfo`.
pub(crate) fn password(cluster: &Cluster) -> Result<Option<String>> {
    Ok(Endpoint::of(cluster)?.password())
}
