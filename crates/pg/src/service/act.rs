//! The commands that start and stop a server, and that run its programs.

use std::sync::Arc;
use std::time::Duration;

use reseed_core::host::{Command, Host, shell_quote};
use reseed_core::undo::by_name;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Control, Service};

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopMode {
    /// Waits until every client has gone by itself.
    Smart,
    /// Ends every client's session, writes a checkpoint and stops.
    #[default]
    Fast,
    /// Stops at once; the next start recovers as after a crash.
    Immediate,
}

impl StopMode {
    /// Its name as PostgreSQL's programs spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            StopMode::Smart => "smart",
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        }
    }
}

impl Service {
    /// Whether a stop can be of another mode than fast.
    pub(crate) fn has_stop_modes(&self) -> bool {
        matches!(self.control, Control::PgCtl { .. } | Control::PgCtlCluster { .. })
    }
}

/// One server on one machine, with all that is needed to start, stop and ask it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Server {
    /// The machine.
    #[serde(with = "by_name")]
    pub(crate) host: Arc<dyn Host>,
    /// How it is started and stopped.
    pub(crate) service: Service,
    /// Its data directory as the operator names it.
    pub(crate) data_directory: String,
    /// The user that it runs as.
    pub(crate) user: String,
    /// Directory of `postgres`, `pg_ctl` and kin.
    pub(crate) bin: String,
    /// Path of `psql`.
    pub(crate) psql: String,
    /// Major version of the programs.
    pub(crate) major: u32,
}

/// Runs `"$@"` with nothing of it left on the caller's pipes: a server that a command left behind
/// would hold them open for ever. What it said goes to standard error at its end, where there is a
/// place to keep it so long: `TMPDIR` may be the caller's, and closed to the server's user.
const QUIET: &str = r#"for d in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
  t=$(mktemp "$d/reseed.XXXXXXXX" 2>/dev/null) && break
done
if [ -z "$t" ]; then "$@" </dev/null >/dev/null 2>&1; exit; fi
"$@" </dev/null >"$t" 2>&1; r=$?
tail -c 4000 "$t" >&2; rm -f "$t"; exit $r"#;

impl Server {
    /// One of the server's own programs, as its user, in its environment.
    pub(crate) fn program(&self, name: &str) -> Command {
        let path = if name == "psql" { self.psql.clone() } else { format!("{}/{name}", self.bin) };
        self.in_environment(vec![path]).as_user(&self.user)
    }

    /// A fixed script as the server's user in its environment.
    pub(crate) fn script(&self, text: &'static str) -> Command {
        self.in_environment(["sh", "-c", text, "sh"].map(str::to_owned).to_vec()).as_user(&self.user)
    }

    fn in_environment(&self, argv: Vec<String>) -> Command {
        let pairs = self.service.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let mut argv = match self.service.environment.is_empty() {
            true => argv,
            false => std::iter::once("env".to_owned()).chain(pairs).chain(argv).collect(),
        };
        let program = argv.remove(0);
        Command::new(program).args(argv)
    }

    /// The file that the server's messages go to, where it is known beforehand.
    pub(crate) fn log_file(&self) -> Option<String> {
        match (&self.service.log, &self.service.control) {
            (Some(log), _) => Some(log.clone()),
            (None, Control::PgCtl { .. }) => Some(format!("{}.log", self.data_directory)),
            (None, Control::PgCtlCluster { version, name }) => {
                Some(format!("/var/log/postgresql/postgresql-{}-{name}.log", version.unwrap_or(self.major)))
            }
            (None, _) => None,
        }
    }

    /// Where Debian keeps the configuration of this cluster, if it is one of Debian's.
    pub(crate) fn debian_config(&self) -> Option<String> {
        let Control::PgCtlCluster { version, name } = &self.service.control else { return None };
        Some(format!("/etc/postgresql/{}/{name}/postgresql.conf", version.unwrap_or(self.major)))
    }

    fn start_argv(&self, wait: Duration) -> Vec<String> {
        let strings = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        match &self.service.control {
            Control::PgCtl { options } => {
                let (data, wait) = (self.data_directory.as_str(), wait.as_secs().max(1).to_string());
                let log = self.log_file().unwrap_or_default();
                let mut argv = strings(&[&format!("{}/pg_ctl", self.bin), "-D", data, "-l", &log, "-w", "-t", &wait]);
                argv.extend(options.iter().flat_map(|options| ["-o".to_owned(), options.clone()]));
                argv.push("start".into());
                argv
            }
            Control::PgCtlCluster { version, name } => {
                strings(&["pg_ctlcluster", &version.unwrap_or(self.major).to_string(), name, "start"])
            }
            Control::Systemd { unit } => strings(&["systemctl", "start", unit]),
            Control::FreeBsd { name } => strings(&["service", name, "onestart"]),
            Control::Command { start, .. } => start.clone(),
        }
    }

    fn stop_argv(&self, mode: StopMode) -> Vec<String> {
        let strings = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        match &self.service.control {
            // Without `-w`: that the server is down is seen sooner and better by its process.
            Control::PgCtl { .. } => {
                let pg_ctl = format!("{}/pg_ctl", self.bin);
                strings(&[&pg_ctl, "-D", &self.data_directory, "-m", mode.name(), "-W", "stop"])
            }
            Control::PgCtlCluster { version, name } => {
                let version = version.unwrap_or(self.major).to_string();
                strings(&["pg_ctlcluster", &version, name, "stop", "-m", mode.name()])
            }
            Control::Systemd { unit } => strings(&["systemctl", "stop", unit]),
            Control::FreeBsd { name } => strings(&["service", name, "onestop"]),
            Control::Command { stop, .. } => stop.clone(),
        }
    }

    fn wrapped(&self, argv: Vec<String>) -> Command {
        let quiet = ["sh", "-c", QUIET, "sh"].map(str::to_owned);
        let command = self.in_environment(quiet.into_iter().chain(argv).collect());
        match self.service.control {
            Control::PgCtl { .. } => command.as_user(&self.user),
            _ => command.as_root(),
        }
    }

    /// Starts the server. Its success proves nothing; its failure may be told by the error.
    ///
    /// # Errors
    /// With what the service said.
    pub(crate) async fn start(&self, wait: Duration) -> Result<()> {
        if let Control::Systemd { unit } = &self.service.control {
            // A unit that failed often in a short time refuses to be started.
            self.host.output(Command::new("systemctl").args(["reset-failed", unit]).as_root()).await?;
        }
        self.act("start", self.start_argv(wait)).await
    }

    /// Asks the server to stop. Whether it is down is for the caller to see.
    ///
    /// # Errors
    /// With what the service said.
    pub(crate) async fn stop(&self, mode: StopMode) -> Result<()> {
        self.act("stop", self.stop_argv(mode)).await
    }

    async fn act(&self, verb: &str, argv: Vec<String>) -> Result<()> {
        let shown: Vec<_> = argv.iter().map(|arg| shell_quote(arg)).collect();
        let exit = self.host.output(self.wrapped(argv)).await?.exit;
        // pg_ctlcluster exits 2 when the server already is as it was asked to be.
        let already = matches!(self.service.control, Control::PgCtlCluster { .. }) && exit.code() == Some(2);
        if exit.success() || already {
            return Ok(());
        }
        let status = exit.code().map_or("was ended by a signal".to_owned(), |code| format!("exited {code}"));
        let said = one_line(&exit.stderr());
        let said = if said.is_empty() { status } else { format!("{status}: {said}") };
        let name = self.host.name();
        Err(Error::failed(format!("could not {verb} the server on {name}: `{}` {said}", shown.join(" "))))
    }

    /// The command by which a person would start it.
    pub(crate) fn start_by_hand(&self, wait: Duration) -> String {
        self.by_hand(self.start_argv(wait))
    }

    /// The command by which a person would stop it.
    pub(crate) fn stop_by_hand(&self) -> String {
        self.by_hand(self.stop_argv(StopMode::Fast))
    }

    fn by_hand(&self, argv: Vec<String>) -> String {
        let pairs = self.service.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let env: Vec<String> = match self.service.environment.is_empty() {
            true => vec![],
            false => std::iter::once("env".to_owned()).chain(pairs).collect(),
        };
        let sudo: &[&str] = match self.service.control {
            Control::PgCtl { .. } => &["sudo", "-u", &self.user],
            _ => &["sudo"],
        };
        let words = sudo.iter().map(|word| (*word).to_owned()).chain(env).chain(argv);
        let line = words.map(|word| shell_quote(&word)).collect::<Vec<_>>().join(" ");
        if self.host.is_local() { line } else { format!("{line}  # on {}", self.host.name()) }
    }
}

/// What a service program said, without pg_ctl's dots and its advice to read a log.
fn one_line(said: &str) -> String {
    let idle = |line: &str| line.starts_with("waiting for server") || line == "Examine the log output.";
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && !idle(line));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use reseed_core::host::{LocalConfig, LocalHost};

    use super::*;

    pub(crate) fn server(control: Control) -> Server {
        let environment = vec![("LD_LIBRARY_PATH".to_owned(), "/opt/pg lib".to_owned())];
        Server {
            host: Arc::new(LocalHost::new("local", &LocalConfig::default())),
            service: Service { control, log: None, environment },
            data_directory: "/data/it's here".into(),
            user: "postgres".into(),
            bin: "/usr/lib/postgresql/15/bin".into(),
            psql: "/usr/bin/psql".into(),
            major: 15,
        }
    }

    #[test]
    fn what_a_person_would_type_survives_a_shell() {
        let pg_ctl = server(Control::PgCtl { options: Some("-c port=5433".into()) });
        assert_eq!(
            pg_ctl.start_by_hand(Duration::from_secs(60)),
            r"sudo -u postgres env 'LD_LIBRARY_PATH=/opt/pg lib' /usr/lib/postgresql/15/bin/pg_ctl -D '/data/it'\''s here' -l '/data/it'\''s here.log' -w -t 60 -o '-c port=5433' start"
        );
    }

    #[test]
    fn what_a_service_says_becomes_one_line() {
        let said = "waiting for server to start.... stopped waiting\npg_ctl: could not start server\nExamine the log output.\n";
        assert_eq!(one_line(said), "pg_ctl: could not start server");
    }

    #[test]
    fn each_service_is_called_as_it_wants() {
        let words = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let cluster = |version| Control::PgCtlCluster { version, name: "main".into() };
        let own = Control::Command { start: words(&["/opt/ha pg", "start"]), stop: words(&["/opt/ha pg", "stop"]) };
        let pg_ctl = "/usr/lib/postgresql/15/bin/pg_ctl";
        let (data, log) = ("/data/it's here", "/data/it's here.log");
        for (control, start, stop) in [
            (
                Control::PgCtl { options: None },
                &[pg_ctl, "-D", data, "-l", log, "-w", "-t", "90", "start"][..],
                &[pg_ctl, "-D", data, "-m", "fast", "-W", "stop"][..],
            ),
            (
                cluster(None),
                &["pg_ctlcluster", "15", "main", "start"],
                &["pg_ctlcluster", "15", "main", "stop", "-m", "fast"],
            ),
            (
                cluster(Some(17)),
                &["pg_ctlcluster", "17", "main", "start"],
                &["pg_ctlcluster", "17", "main", "stop", "-m", "fast"],
            ),
            (
                Control::Systemd { unit: "postgresql@15-main".into() },
                &["systemctl", "start", "postgresql@15-main"],
                &["systemctl", "stop", "postgresql@15-main"],
            ),
            // Without `one`, a script of rc.d that is not enabled does nothing and exits 0.
            (
                Control::FreeBsd { name: "postgresql".into() },
                &["service", "postgresql", "onestart"],
                &["service", "postgresql", "onestop"],
            ),
            (own, &["/opt/ha pg", "start"], &["/opt/ha pg", "stop"]),
        ] {
            let server = server(control);
            assert_eq!(server.start_argv(Duration::from_secs(90)), start);
            assert_eq!(server.stop_argv(StopMode::Fast), stop);
        }
    }

    #[test]
    fn what_is_the_systems_is_called_as_root_and_what_is_the_servers_as_its_user() {
        use reseed_core::host::Become;
        let called = |control: Control| {
            let server = server(control);
            let command = server.wrapped(server.start_argv(Duration::from_secs(90)));
            command.argv("op", Some(Become::Doas))[..4].join(" ")
        };
        let unit = Control::Systemd { unit: "postgresql@15-main".into() };
        let debian = Control::PgCtlCluster { version: None, name: "main".into() };
        for control in [unit, debian, Control::FreeBsd { name: "postgresql".into() }] {
            assert_eq!(called(control), "doas -n -- env");
        }
        assert_eq!(called(Control::PgCtl { options: None }), "doas -n -u postgres");
    }

    #[test]
    fn the_log_of_debian_is_where_debian_puts_it() {
        let cluster = Control::PgCtlCluster { version: Some(16), name: "x".into() };
        assert_eq!(server(cluster).log_file().unwrap(), "/var/log/postgresql/postgresql-16-x.log");
        assert_eq!(server(Control::Systemd { unit: "u".into() }).log_file(), None);
    }

    #[tokio::test]
    async fn what_a_command_says_comes_through_wherever_temporary_files_may_go() {
        let host = server(Control::Systemd { unit: "u".into() }).host;
        for directory in ["/tmp", "/nonexistent", "/proc", ""] {
            let argv = [&format!("TMPDIR={directory}"), "sh", "-c", QUIET, "sh", "sh", "-c", "echo said; exit 3"];
            let exit = host.output(Command::new("env").args(argv)).await.unwrap().exit;
            assert_eq!((exit.code(), exit.stderr().trim()), (Some(3), "said"), "{directory}");
        }
    }
}
