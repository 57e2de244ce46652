//! Which server a cluster's `conninfo` leads to, with what libpq would add from the environment.

use std::fmt;

use reseed_core::{Error, Result};

use super::tls::{Mode, Way};
use super::{Conninfo, password};
use crate::cluster::Cluster;

/// Keywords that mean the same to the driver as to libpq.
const DRIVER: &[&str] = &[
    "user",
    "dbname",
    "options",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "channel_binding",
];
/// Keywords that matter to libpq only; the standby's WAL receiver gets them as they are.
const LIBPQ: &[&str] = &[
    "password",
    "passfile",
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "sslmode",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslpassword",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requirepeer",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "keepalives_count",
    "target_session_attrs",
    "load_balance_hosts",
    "require_auth",
    "replication",
];
/// What libpq takes from the environment where the string says nothing.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("channel_binding", "PGCHANNELBINDING"),
];
/// Where local sockets are, if nothing says it: Debian's place and PostgreSQL's own.
const SOCKETS: &[&str] = &["/var/run/postgresql", "/tmp"];

/// A server, and how to log in there.
#[derive(Debug)]
pub(super) struct Endpoint {
    given: Conninfo,
    full: Conninfo,
    mode: Mode,
    password: Option<reseed_core::config::Secret>,
}

impl Endpoint {
    /// The endpoint of a cluster.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let text = match &cluster.conninfo {
            Some(text) => text,
            None if cluster.host.is_local() => "",
            None => {
                return Err(Error::failed(format!("the cluster `{}` has no conninfo", cluster.name)).hint(format!(
                    "add `conninfo = \"host=… user=… dbname=postgres\"` to [clusters.{}]",
                    cluster.name
                )));
            }
        };
        let given = understood(text)?;
        let full = completed(given.clone(), |name| std::env::var(name).ok());
        Ok(Self { mode: Mode::of(&full)?, given, full, password: cluster.password.clone() })
    }

    /// What the driver needs.
    pub fn config(&self) -> Result<tokio_postgres::Config> {
        let mut known = self.full.only(DRIVER);
        if let (None, Some(address)) = (known.get("host"), self.full.get("hostaddr")) {
            // The name that a certificate must be for.
            known.set("host", address);
        }
        let text = known.to_string();
        let parsed: Result<tokio_postgres::Config, _> = text.parse();
        let mut config = parsed.map_err(|e| Error::failed("the connection string can't be used").because(e))?;
        if let Some(password) = self.password() {
            config.password(password);
        }
        Ok(config)
    }

    /// The settings with everything that libpq would add.
    pub fn settings(&self) -> &Conninfo {
        &self.full
    }

    /// What `sslmode` asks for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How to connect, and how where that way leads nowhere. A local socket needs no TLS and has none.
    pub fn ways(&self) -> (Way, Option<Way>) {
        if self.is_local() { (Way::Plain, None) } else { self.mode.ways() }
    }

    /// Whether TLS begins without asking for it.
    pub fn is_direct(&self) -> bool {
        self.get("sslnegotiation") == "direct"
    }

    /// The string for a standby's WAL receiver.
    pub fn upstream(&self, user: &str) -> Conninfo {
        let mut upstream = self.given.clone();
        for key in ["password", "application_name", "fallback_application_name", "replication"] {
            upstream.remove(key);
        }
        for key in ["host", "hostaddr", "port"] {
            if upstream.get(key).is_none() && !self.get(key).is_empty() {
                upstream.set(key, self.get(key));
            }
        }
        upstream.set("user", user);
        upstream
    }

    /// The password, in libpq's order of places.
    pub fn password(&self) -> Option<String> {
        let given = self.password.as_ref().map(|secret| secret.reveal().to_owned());
        let given = given.or_else(|| self.full.get("password").map(str::to_owned));
        given.or_else(|| std::env::var("PGPASSWORD").ok()).or_else(|| {
            let file = password::file(self.full.get("passfile"))?;
            let host = self.full.get("host").or(self.full.get("hostaddr")).unwrap_or_default();
            password::in_file(&file, host, self.get("port"), self.get("dbname"), self.get("user"))
        })
    }

    /// A keyword's value with defaults; empty where there is none.
    pub fn get(&self, key: &str) -> &str {
        self.full.get(key).unwrap_or_default()
    }

    /// Whether it is a local socket, or several.
    pub fn is_local(&self) -> bool {
        self.get("hostaddr").is_empty() && self.get("host").split(',').all(|host| host.starts_with('/'))
    }
}

/// A connection string of which every keyword is known and fits a `sslmode` that it says.
///
/// # Errors
/// What is wrong with it.
pub(super) fn understood(text: &str) -> Result<Conninfo> {
    let given = Conninfo::parse(text)?;
    let unknown = given.keys().find(|key| !DRIVER.contains(key) && !LIBPQ.contains(key));
    if let Some(unknown) = unknown {
        return Err(Error::failed(format!("the connection string's `{unknown}` is not supported"))
            .hint("write it as `host=… port=… user=… dbname=…`"));
    }
    // Where it says no mode, the environment may.
    given.get("sslmode").map(|_| Mode::of(&given)).transpose()?;
    Ok(given)
}

/// The string with everything that libpq would add.
fn completed(mut conninfo: Conninfo, environment: impl Fn(&str) -> Option<String>) -> Conninfo {
    for (key, name) in ENVIRONMENT {
        if let (None, Some(value)) = (conninfo.get(key), environment(name)) {
            conninfo.set(key, &value);
        }
    }
    if conninfo.get("host").is_none() && conninfo.get("hostaddr").is_none() {
        let found = SOCKETS.iter().find(|directory| std::path::Path::new(directory).is_dir());
        conninfo.set("host", found.unwrap_or(&SOCKETS[1]));
    }
    if conninfo.get("port").is_none() {
        conninfo.set("port", "5432");
    }
    if let (None, Some(user)) = (conninfo.get("user"), environment("USER").or_else(|| environment("LOGNAME"))) {
        conninfo.set("user", &user);
    }
    if let (None, Some(user)) = (conninfo.get("dbname"), conninfo.get("user").map(str::to_owned)) {
        conninfo.set("dbname", &user);
    }
    conninfo
}

/// Host, port and user, as messages show a server.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.full.get("host").or(self.full.get("hostaddr")).unwrap_or_default();
        write!(f, "PostgreSQL at {host}, port {}, as user {}", self.get("port"), self.get("user"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        let given = Conninfo::parse(text).unwrap();
        let environment =
            |name: &str| [("PGPORT", "5499"), ("USER", "op")].iter().find(|e| e.0 == name).map(|e| e.1.to_owned());
        let full = completed(given.clone(), environment);
        Endpoint { mode: Mode::of(&full).unwrap(), full, given, password: None }
    }

    #[test]
    fn what_is_missing_comes_from_the_environment() {
        let endpoint = endpoint("host=db1");
        assert_eq!(endpoint.to_string(), "PostgreSQL at db1, port 5499, as user op");
        assert_eq!(endpoint.get("dbname"), "op");
    }

    #[test]
    fn the_upstream_says_everything_but_the_password() {
        let endpoint = endpoint("host=db1 password=x sslmode=prefer application_name=a");
        assert_eq!(endpoint.upstream("repl").to_string(), "host=db1 sslmode=prefer port=5499 user=repl");
    }

    #[test]
    fn only_sockets_go_without_tls_where_it_is_required() {
        let ways = |text: &str| endpoint(&format!("{text} user=b sslmode=verify-full")).ways();
        assert_eq!(ways("host=/run/postgresql"), (Way::Plain, None));
        for text in ["host=db1", "host=/run/postgresql,db1", "host=/run/postgresql hostaddr=10.0.0.1"] {
            assert_eq!(ways(text), (Way::Tls, None), "{text}");
        }
    }

    #[test]
    fn an_address_without_a_name_is_the_name() {
        let config = endpoint("hostaddr=10.0.0.1 user=b").config().unwrap();
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Tcp("10.0.0.1".into())]);
    }

    #[test]
    fn lists_of_hosts_reach_the_driver() {
        let config = endpoint("postgresql://b@a:1,c:2/d").config().unwrap();
        assert_eq!((config.get_hosts().len(), config.get_ports()), (2, &[1, 2][..]));
    }
}
