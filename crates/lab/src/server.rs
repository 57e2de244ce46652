//! PostgreSQL servers in the lab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Tool, User, make_directory, set_mode, wait_until, write};
use crate::{Lab, Load, Major, Result, free_port};

/// How long a server may take to read its configuration.
const RELOADS: Duration = Duration::from_secs(60);

/// The role by which a standby follows and reseed asks.
pub const REPLICATOR: &str = "replicator";

/// What a primary gets besides the lab's own settings.
#[derive(Debug, Clone, Default)]
pub struct PrimaryOptions {
    /// The directory for WAL, where it is not in the data directory.
    pub wal_directory: Option<String>,
    /// Lines of `postgresql.conf` that come last and so win.
    pub settings: Vec<String>,
    /// Further options of `initdb`.
    pub initdb: Vec<String>,
}

/// A PostgreSQL server: a primary that the lab made, or the place where a standby will be.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its major version.
    pub major: Major,
    /// Directory of its programs, callable as they are.
    pub programs: PathBuf,
    /// Its data directory.
    pub data: String,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The directory of its Unix socket.
    pub sockets: String,
    user: User,
    log: String,
}

impl Server {
    /// The place of a server that someone else makes: a free port, a directory for its socket.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn place(lab: &Lab, name: &str, major: &Major, data: impl Into<String>) -> Result<Self> {
        let user = User::of_servers()?;
        let sockets = lab.directory().join(format!("sockets-{name}"));
        make_directory(&sockets)?;
        user.own(&sockets)?;
        Ok(Self {
            programs: major.callable(lab)?,
            major: major.clone(),
            data: data.into(),
            port: free_port()?,
            sockets: sockets.to_string_lossy().into_owned(),
            log: format!("{}/log", sockets.display()),
            user,
        })
    }

    /// Makes a primary, starts it and creates the role [`REPLICATOR`] with the rights that reseed needs.
    ///
    /// # Errors
    /// When any step fails.
    pub fn primary(
        lab: &Lab,
        name: &str,
        major: &Major,
        data: impl Into<String>,
        options: &PrimaryOptions,
    ) -> Result<Self> {
        let server = Self::place(lab, name, major, data)?;
        server.init(options)?;
        server.configure(options)?;
        server.start()?;
        server.sql(&grants(major.number))?;
        // As everywhere, who runs the server may log in: reseed asks a standby as that user.
        let user = &server.user.name;
        if user != "postgres" {
            server.sql(&format!("create role \"{}\" login superuser", user.replace('"', "\"\"")))?;
        }
        Ok(server)
    }

    fn init(&self, options: &PrimaryOptions) -> Result<()> {
        let parents = [Some(self.data.as_str()), options.wal_directory.as_deref()];
        for parent in parents.into_iter().flatten().filter_map(|path| Path::new(path).parent()) {
            make_directory(parent)?;
            self.user.own(parent)?;
        }
        let initdb = self.tool("initdb").args(["-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-N"]);
        let wal = options.wal_directory.iter().flat_map(|directory| ["-X", directory.as_str()]);
        initdb.args(wal).args(options.initdb.clone()).args(["-D", &self.data]).run().map(drop)
    }

    fn configure(&self, options: &PrimaryOptions) -> Result<()> {
        let conf = format!("{}/postgresql.conf", self.data);
        let hba = format!("{}/pg_hba.conf", self.data);
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nwal_level = replica\n\
             max_wal_senders = 10\nmax_replication_slots = 10\nshared_buffers = 32MB\nmax_connections = 40\n\
             hot_standby = on\nlog_min_messages = info\n{}\n",
            self.port,
            self.sockets,
            options.settings.join("\n")
        );
        append(Path::new(&conf), &settings)?;
        append(Path::new(&hba), &format!("host replication {REPLICATOR} 127.0.0.1/32 trust\n"))
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self) -> Result<()> {
        self.tool("pg_ctl").args(["start", "-w", "-s", "-l", &self.log, "-D", &self.data]).run().map(drop)
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&self) -> Result<()> {
        self.tool("pg_ctl").args(["stop", "-w", "-s", "-m", "fast", "-D", &self.data]).run().map(drop)
    }

    /// Runs SQL as the superuser and gives what it printed: rows as lines, columns between `|`.
    ///
    /// # Errors
    /// When the server does not answer or the SQL fails.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let psql = self.client("psql").args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]);
        Ok(psql.args(["-c", sql]).run()?.trim_end().to_owned())
    }

    /// Makes it read its configuration anew, and waits until whoever connects finds it read.
    ///
    /// # Errors
    /// When the server does not answer, or reads nothing within a minute.
    pub fn reload(&self) -> Result<()> {
        let loaded = || self.sql("select pg_conf_load_time()");
        let before = loaded()?;
        self.sql("select pg_reload_conf()")?;
        wait_until("the configuration to be read", RELOADS, || Ok(loaded()? != before))
    }

    /// Whether it answers a query.
    pub fn answers(&self) -> bool {
        self.sql("select 1").is_ok_and(|one| one == "1")
    }

    /// Makes a tablespace in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When the system or the server refuses.
    pub fn tablespace(&self, name: &str, directory: &str) -> Result<()> {
        make_directory(Path::new(directory))?;
        set_mode(Path::new(directory), 0o700)?;
        self.user.own(Path::new(directory))?;
        self.sql(&format!("create tablespace {name} location '{directory}'")).map(drop)
    }

    /// Fills the tables of pgbench: about 15 MB for each unit of `scale`.
    ///
    /// # Errors
    /// When pgbench fails.
    pub fn fill(&self, scale: u32) -> Result<()> {
        let pgbench = self.client("pgbench").args(["-i", "-q", "-s", &scale.to_string(), "postgres"]);
        pgbench.run().map(drop)
    }

    /// Starts a load of writes that goes on until it is stopped or dropped: about `rate`
    /// transactions a second.
    ///
    /// # Errors
    /// When pgbench can't be started.
    pub fn load(&self, rate: u32) -> Result<Load> {
        let pgbench =
            self.client("pgbench").args(["-n", "-c", "4", "-T", "86400", "-R", &rate.to_string(), "postgres"]);
        Load::start(&pgbench)
    }

    /// Waits until everything that `primary` has written so far is replayed here.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub fn catch_up(&self, primary: &Server, limit: Duration) -> Result<()> {
        let lsn = primary.sql("select pg_current_wal_lsn()")?;
        let there = format!("select pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn");
        wait_until(&format!("replay up to {lsn}"), limit, || Ok(self.sql(&there).is_ok_and(|yes| yes == "t")))
    }

    /// Whether it is a standby whose WAL receiver is streaming.
    pub fn streams(&self) -> bool {
        let query =
            "select pg_is_in_recovery() and exists (select from pg_stat_wal_receiver where status = 'streaming')";
        self.sql(query).is_ok_and(|yes| yes == "t")
    }

    /// Rows in the tables of pgbench, all together.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn rows(&self) -> Result<u64> {
        let count = |table: &str| format!("(select count(*) from pgbench_{table})");
        let tables = ["accounts", "branches", "tellers", "history"].map(count).join(" + ");
        Ok(self.sql(&format!("select {tables}"))?.parse().unwrap_or_default())
    }

    /// The end of the server's log, where the lab started it.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// One of its client programs, set up to reach it as the superuser.
    pub fn client(&self, program: &str) -> Tool {
        let tool = Tool::new(self.major.client(program)).as_user(&self.user).current_directory(&self.sockets);
        let tool = tool.env("PGHOST", &self.sockets).env("PGPORT", self.port.to_string());
        tool.env("PGUSER", "postgres").env("PGCONNECT_TIMEOUT", "10")
    }

    fn tool(&self, program: &str) -> Tool {
        Tool::new(self.programs.join(program)).as_user(&self.user).current_directory(&self.sockets)
    }

    /// Connection string of the role [`REPLICATOR`].
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user={REPLICATOR} dbname=postgres", self.port)
    }
}

fn append(path: &Path, lines: &str) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(crate::LabError::io(format!("reading {}", path.display())))?;
    write(path, &format!("{text}\n{lines}"), 0o600)
}

/// The role and, by version, the rights to run a backup and to ask what a check asks.
fn grants(major: u32) -> String {
    let backup = match major {
        15.. => "pg_backup_start(text, boolean), pg_backup_stop(boolean)",
        _ => "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)",
    };
    let checkpoint = if major >= 15 { format!("; grant pg_checkpoint to {REPLICATOR}") } else { String::new() };
    format!(
        "create role {REPLICATOR} login replication; grant pg_monitor to {REPLICATOR}; \
         grant execute on function {backup} to {REPLICATOR}{checkpoint}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_the_version() {
        assert!(grants(14).contains("pg_start_backup") && !grants(14).contains("pg_checkpoint"));
        assert!(grants(15).contains("pg_backup_start") && grants(15).contains("pg_checkpoint"));
    }
}
