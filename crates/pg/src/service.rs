//! How a server is started and stopped.

mod act;
mod present;

use std::collections::BTreeMap;

use reseed_core::config::{BuildCx, Located, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use act::Server;
pub use act::StopMode;

/// How a server is started and stopped: `service = { use = "pg-ctl" }`.
///
/// Whatever is used, its exit code is never believed alone: a server counts as running by its
/// process and its `postmaster.pid`, and as serving when it has answered a query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// What starts and stops the server:
    /// - `pg-ctl` (the default): `pg_ctl`, as the owner of the data directory;
    /// - `pg-ctlcluster`: Debian's and Ubuntu's wrapper, as root;
    /// - `systemd`: `systemctl start` and `stop` of `unit`, as root;
    /// - `freebsd`: `service NAME onestart` and `onestop`, as root;
    /// - `command`: the commands `start` and `stop`, as root where the host has a `become`.
    #[serde(rename = "use")]
    use_: Located<Use>,
    /// For `pg-ctl`: options for the server, as after `pg_ctl -o`, for example
    /// `-c config_file=/etc/postgresql/postgresql.conf`.
    options: Option<Located<String>>,
    /// The file to which the server's messages go, by absolute path. It is read to name the cause
    /// when a start fails. For `pg-ctl` the default is a file beside the data directory, named as
    /// it with `.log` at its end; for `pg-ctlcluster` it is
    /// `/var/log/postgresql/postgresql-VERSION-NAME.log`. The server's own `log_directory` and, for
    /// `systemd`, the journal are found without it.
    log: Option<Located<String>>,
    /// For `pg-ctlcluster`: the major version as Debian counts it, by default that of the source.
    version: Option<Located<u32>>,
    /// For `pg-ctlcluster`: the cluster's name, `main` by default. For `freebsd`: the script in
    /// `rc.d`, `postgresql` by default.
    name: Option<Located<String>>,
    /// For `systemd`: the unit, for example `postgresql@15-main` or `postgresql-17`. Debian's
    /// `postgresql.service` starts nothing by itself; name the instance.
    unit: Option<Located<String>>,
    /// For `command`: program and arguments that start the server: `["/opt/ha/pg", "start"]`.
    start: Option<Located<Vec<String>>>,
    /// For `command`: program and arguments that stop the server fast.
    stop: Option<Located<Vec<String>>>,
    /// Environment of the server's programs (`pg_ctl`, `postgres`, `psql`) where they need one, for
    /// example `{ LD_LIBRARY_PATH = "/opt/pg/lib" }`. Not for secrets.
    #[serde(default)]
    environment: BTreeMap<String, Located<String>>,
}

/// What starts and stops a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Use {
    /// `pg_ctl`
    PgCtl,
    /// `pg_ctlcluster`
    PgCtlcluster,
    /// `systemctl`
    Systemd,
    /// `service`
    Freebsd,
    /// Commands of the operator's own.
    Command,
}

/// How a server is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What does it.
    pub(crate) control: Control,
    /// Where the server's messages go, if it was said.
    pub(crate) log: Option<String>,
    /// Environment of the server's programs.
    pub(crate) environment: Vec<(String, String)>,
}

/// What starts and stops a server, with all that it must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Control {
    /// `pg_ctl` with the server's options.
    PgCtl { options: Option<String> },
    /// `pg_ctlcluster`; the version is the source's where there is none.
    PgCtlCluster { version: Option<u32>, name: String },
    /// `systemctl` with a unit.
    Systemd { unit: String },
    /// `service` with a script of rc.d.
    FreeBsd { name: String },
    /// Argument vectors.
    Command { start: Vec<String>, stop: Vec<String> },
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            use_: Located::nowhere(Use::PgCtl),
            options: None,
            log: None,
            version: None,
            name: None,
            unit: None,
            start: None,
            stop: None,
            environment: BTreeMap::new(),
        }
    }
}

impl ServiceConfig {
    /// The service that this describes. Problems are reported to `cx`; then the result is `None`.
    pub(crate) fn build(self, cx: &mut BuildCx<'_>) -> Option<Service> {
        let problems = self.problems();
        let sound = problems.is_empty();
        problems.into_iter().for_each(|problem| cx.problem(problem));
        sound.then(|| self.service())
    }

    fn service(self) -> Service {
        let text = |value: Option<Located<String>>, default: &str| value.map_or(default.into(), Located::into_inner);
        let argv = |value: Option<Located<Vec<String>>>| value.map(Located::into_inner).unwrap_or_default();
        let control = match *self.use_ {
            Use::PgCtl => Control::PgCtl { options: self.options.map(Located::into_inner) },
            Use::PgCtlcluster => {
                Control::PgCtlCluster { version: self.version.map(|version| *version), name: text(self.name, "main") }
            }
            Use::Systemd => Control::Systemd { unit: text(self.unit, "") },
            Use::Freebsd => Control::FreeBsd { name: text(self.name, "postgresql") },
            Use::Command => Control::Command { start: argv(self.start), stop: argv(self.stop) },
        };
        let environment = self.environment.into_iter().map(|(name, value)| (name, value.into_inner()));
        Service { control, log: self.log.map(Located::into_inner), environment: environment.collect() }
    }

    /// Everything that does not fit, each where it stands.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.foreign_keys();
        problems.extend(self.missing_keys());
        if let Some(log) = self.log.as_ref().filter(|log| !log.starts_with('/')) {
            problems.push(Problem::at(log.span(), "a log file is named by its absolute path"));
        }
        for argv in [&self.start, &self.stop].into_iter().flatten().filter(|argv| argv.is_empty()) {
            problems.push(Problem::at(argv.span(), "a command has at least a program"));
        }
        let strange = |name: &str| name.is_empty() || name.contains(['=', '\0', ' ']) || name.starts_with('-');
        for (name, value) in self.environment.iter().filter(|(name, _)| strange(name)) {
            problems.push(Problem::at(value.span(), format!("`{name}` can't be the name of an environment variable")));
        }
        problems
    }

    /// Keys that belong to another `use`.
    fn foreign_keys(&self) -> Vec<Problem> {
        let keys = [
            ("options", self.options.as_ref().map(Located::span), &[Use::PgCtl][..]),
            ("version", self.version.as_ref().map(Located::span), &[Use::PgCtlcluster]),
            ("name", self.name.as_ref().map(Located::span), &[Use::PgCtlcluster, Use::Freebsd]),
            ("unit", self.unit.as_ref().map(Located::span), &[Use::Systemd]),
            ("start", self.start.as_ref().map(Located::span), &[Use::Command]),
            ("stop", self.stop.as_ref().map(Located::span), &[Use::Command]),
        ];
        let foreign = keys.into_iter().filter(|(_, _, uses)| !uses.contains(&self.use_));
        let problem = |(key, span, uses): (&str, Option<_>, &[Use])| {
            let uses: Vec<_> = uses.iter().map(|use_| format!("`{}`", use_.name())).collect();
            let message = format!("`{key}` has no meaning for `{}`", self.use_.name());
            span.map(|span| Problem::at(span, message).hint(format!("it belongs to {}", uses.join(" and "))))
        };
        foreign.filter_map(problem).collect()
    }

    /// Keys without which the service can't be controlled.
    fn missing_keys(&self) -> Vec<Problem> {
        let missing = |key: &str, example: &str| {
            let message = format!("`{}` needs the key `{key}`", self.use_.name());
            Problem::at(self.use_.span(), message).hint(format!("for example `{key} = {example}`"))
        };
        let mut problems = Vec::new();
        if *self.use_ == Use::Systemd && self.unit.is_none() {
            problems.push(missing("unit", "\"postgresql@15-main\""));
        }
        if *self.use_ == Use::Command && self.start.is_none() {
            problems.push(missing("start", "[\"/opt/ha/pg\", \"start\"]"));
        }
        if *self.use_ == Use::Command && self.stop.is_none() {
            problems.push(missing("stop", "[\"/opt/ha/pg\", \"stop\"]"));
        }
        problems
    }
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Use::PgCtl => "pg-ctl",
            Use::PgCtlcluster => "pg-ctlcluster",
            Use::Systemd => "systemd",
            Use::Freebsd => "freebsd",
            Use::Command => "command",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(use_: Use) -> ServiceConfig {
        ServiceConfig { use_: Located::nowhere(use_), ..ServiceConfig::default() }
    }

    fn said(config: &ServiceConfig) -> Vec<String> {
        config.problems().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_key_of_another_service_and_a_missing_one_are_both_told() {
        let unit = Some(Located::nowhere("postgresql".to_owned()));
        assert_eq!(said(&ServiceConfig { unit, ..config(Use::PgCtl) }), ["`unit` has no meaning for `pg-ctl`"]);
        assert_eq!(said(&config(Use::Systemd)), ["`systemd` needs the key `unit`"]);
        assert_eq!(said(&config(Use::Command)), ["`command` needs the key `start`", "`command` needs the key `stop`"]);
        let options = Some(Located::nowhere("-c x=1".to_owned()));
        assert_eq!(
            said(&ServiceConfig { options, ..config(Use::Freebsd) }),
            ["`options` has no meaning for `freebsd`"]
        );
    }

    #[test]
    fn defaults_are_those_of_the_systems() {
        assert_eq!(config(Use::PgCtl).service().control, Control::PgCtl { options: None });
        let debian = Control::PgCtlCluster { version: None, name: "main".into() };
        assert_eq!(config(Use::PgCtlcluster).service().control, debian);
        assert_eq!(config(Use::Freebsd).service().control, Control::FreeBsd { name: "postgresql".into() });
    }
}
