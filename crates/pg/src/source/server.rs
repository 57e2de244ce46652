//! What the source's server tells about itself, asked once.

use reseed_core::{Error, Result};
use tokio_postgres::types::ToSql;

use super::vitals::Vitals;
use super::{guard, statements};
use crate::session::{Column, Session};
use crate::target::sender::Sender;

/// Settings that a standby must not have lower than its primary. `max_wal_senders` counts from 12 on.
const MINIMUM: &[&str] = &[
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// What the source's server tells about itself.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub version: u32,
    pub vitals: Vitals,
    pub wal_level: String,
    pub port: u16,
    /// Seconds since 1970 at which it was started.
    pub started: i64,
    pub wal_segment_size: u64,
    pub data_checksums: bool,
    /// On a standby: that of the server that wrote the WAL, as of the last checkpoint.
    pub full_page_writes: bool,
    /// `None` where the role may not see it.
    pub data_directory: Option<String>,
    pub minimum_settings: Vec<(String, i64)>,
    /// Tablespaces outside the data directory: OID and where the link leads.
    pub tablespaces: Vec<(u32, String)>,
    pub role: Role,
    pub room: Room,
    pub senders: Vec<Sender>,
    /// Bytes of WAL that it keeps for slots at most, where there is a limit.
    pub wal_kept: Option<u64>,
}

/// What the role that reseed connects as may do.
#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    pub name: String,
    pub replication: bool,
    pub checkpoint: bool,
    /// Functions of backup mode that it may not call, with their signatures.
    pub missing: Vec<&'static str>,
}

/// How much of what standbys need is left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    pub max_wal_senders: i64,
    pub slots: i64,
    pub max_slots: i64,
}

impl Server {
    /// The major version: 10, 11 … 18.
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Asks the server.
    pub async fn read(session: &Session) -> Result<Self> {
        // What follows is not the same in every version.
        let version = version(session).await?;
        let general = format!("{GENERAL}, {}", guard::KEPT);
        let (row, vitals, minimum_settings, tablespaces, role, room, senders) = tokio::try_join!(
            session.row(&general, &[]),
            Vitals::read(session),
            minimum(session, version),
            tablespaces(session),
            Role::read(session, version / 10_000),
            Room::read(session),
            senders(session),
        )?;
        Ok(Self {
            version,
            vitals,
            wal_level: row.column(0)?,
            port: u16::try_from(row.column::<i32>(1)?).map_err(|e| Error::failed("no such port").because(e))?,
            started: row.column(2)?,
            wal_segment_size: u64::from(row.column::<i32>(3)?.cast_unsigned()),
            data_checksums: row.column(4)?,
            full_page_writes: row.column(5)?,
            data_directory: row.column(6)?,
            minimum_settings,
            tablespaces,
            role,
            room,
            senders,
            wal_kept: guard::kept_bytes(row.column(7)?),
        })
    }
}

const GENERAL: &str = "SELECT current_setting('wal_level'), current_setting('port')::int, \
     floor(extract(epoch FROM pg_postmaster_start_time()))::bigint, \
     (SELECT bytes_per_wal_segment FROM pg_control_init()), \
     current_setting('data_checksums')::bool, \
     CASE WHEN pg_is_in_recovery() THEN (SELECT full_page_writes FROM pg_control_checkpoint()) \
     ELSE current_setting('full_page_writes')::bool END, \
     (SELECT setting FROM pg_settings WHERE name = 'data_directory')";

/// The version, refused where it is too old for what follows.
async fn version(session: &Session) -> Result<u32> {
    let version = session.value::<i32>("SELECT current_setting('server_version_num')::int", &[]).await?;
    match version.cast_unsigned() {
        old if old < 100_000 => Err(Error::refused(format!(
            "the source runs PostgreSQL {}.{}; reseed works with 10 and later",
            old / 10_000,
            old / 100 % 100
        ))
        .hint("upgrade the source with pg_upgrade, or copy it with pg_basebackup")),
        version => Ok(version),
    }
}

/// Settings that a standby must not have lower, with their values.
pub(crate) async fn minimum(session: &Session, version: u32) -> Result<Vec<(String, i64)>> {
    let named: Vec<_> = MINIMUM
        .iter()
        .filter(|name| version >= 120_000 || **name != "max_wal_senders")
        .map(|n| (*n).to_owned())
        .collect();
    let sql = "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY($1) ORDER BY name";
    let rows = session.rows(sql, &[&named]).await?;
    rows.iter().map(|row| Ok((row.column(0)?, row.column(1)?))).collect()
}

/// Those whose location is relative are directories inside `pg_tblspc` (`allow_in_place_tablespaces`).
async fn tablespaces(session: &Session) -> Result<Vec<(u32, String)>> {
    let sql = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace ORDER BY oid";
    let rows = session.rows(sql, &[]).await?;
    let all: Result<Vec<(u32, String)>> = rows.iter().map(|row| Ok((row.column(0)?, row.column(1)?))).collect();
    Ok(all?.into_iter().filter(|(_, location)| location.starts_with('/')).collect())
}

/// Every WAL sender, whatever it sends: all of them count towards `max_wal_senders`.
async fn senders(session: &Session) -> Result<Vec<Sender>> {
    let sql = "SELECT coalesce(r.application_name, ''), coalesce(r.usename::text, ''), s.slot_name::text \
               FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid";
    let rows = session.rows(sql, &[]).await?;
    let sender = |row: &tokio_postgres::Row| -> Result<Sender> {
        Ok(Sender { application: row.column(0)?, user: row.column(1)?, slot: row.column(2)? })
    };
    rows.iter().map(sender).collect()
}

impl Role {
    async fn read(session: &Session, major: u32) -> Result<Self> {
        let sql = "SELECT rolname::text, rolsuper OR rolreplication, rolsuper OR EXISTS (SELECT FROM pg_roles p \
                   WHERE p.rolname = 'pg_checkpoint' AND pg_has_role(r.oid, p.oid, 'USAGE')) \
                   FROM pg_roles r WHERE rolname = current_user";
        let lacks = "SELECT f FROM unnest($1::text[]) f WHERE NOT has_function_privilege(current_user, f, 'EXECUTE')";
        let functions = statements::functions(major);
        let asked: [&(dyn ToSql + Sync); 1] = [&functions.as_slice()];
        let (row, lacking) = tokio::try_join!(session.row(sql, &[]), session.rows(lacks, &asked))?;
        let lacking = lacking.iter().map(|row| row.column(0)).collect::<Result<Vec<String>>>()?;
        let missing = functions.into_iter().filter(|function| lacking.iter().any(|lacks| lacks == *function)).collect();
        Ok(Self { name: row.column(0)?, replication: row.column(1)?, checkpoint: row.column(2)?, missing })
    }
}

impl Room {
    async fn read(session: &Session) -> Result<Self> {
        let sql = "SELECT current_setting('max_wal_senders')::bigint, (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::bigint";
        let row = session.row(sql, &[]).await?;
        Ok(Self { max_wal_senders: row.column(0)?, slots: row.column(1)?, max_slots: row.column(2)? })
    }
}
