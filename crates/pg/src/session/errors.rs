//! What went wrong between reseed and a server, and what to do about it.

use reseed_core::Error;
use tokio_postgres::error::SqlState;

use super::dial::{CONNECT, Failed};
use super::endpoint::Endpoint;
use super::identifier;
use super::tls::{self, Mode, Way};

/// A connection that was not made.
pub(super) fn connecting(endpoint: &Endpoint, failed: Failed) -> Error {
    let text = format!("can't connect to {endpoint}");
    let error = match failed {
        Failed::Unready(error) => return error.context(text),
        Failed::Silent => {
            let text = format!("{text}: no answer within {} s", CONNECT.as_secs());
            return Error::failed(text).hint(unreachable(endpoint));
        }
        Failed::Driver(error) => error,
    };
    if let Some(said) = tls::explain(&error, endpoint.is_direct()) {
        return Error::failed(text).because(said.text).hint(said.hint.unwrap_or_else(|| by_hand(endpoint)));
    }
    Error::failed(text).because(told(&error)).hint(hint_of(endpoint, &error))
}

/// A connection that was made neither with TLS nor without it. What the server said is told first; it
/// knows who may come in how.
pub(super) fn connecting_twice(endpoint: &Endpoint, first: (Way, Failed), second: (Way, Failed)) -> Error {
    let let_in = |failed: &Failed| match failed {
        Failed::Driver(error) => error.as_db_error().is_some() && error.code() != Some(&NO_ENTRY),
        _ => false,
    };
    let (told, other) = if let_in(&first.1) { (first, second) } else { (second, first) };
    let (told, (way, other)) = (connecting(endpoint, told.1), (other.0, connecting(endpoint, other.1)));
    let cause = |error: &Error| std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if cause(&told) == cause(&other) || cause(&other).is_empty() {
        return told;
    }
    let how = if way == Way::Tls { "with TLS" } else { "without TLS" };
    let hint = told.hint_text().map(str::to_owned);
    let both = Error::failed(format!("can't connect to {endpoint}"));
    let both = both.because(format!("{}; {how}: {}", cause(&told), cause(&other)));
    hint.into_iter().fold(both, Error::hint)
}

/// What a server without a line in pg_hba.conf for this says.
const NO_ENTRY: SqlState = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;

/// Whether the server does not let this role in this way: it may in another.
pub(super) fn is_locked_out(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [NO_ENTRY, SqlState::INVALID_PASSWORD].contains(code))
}

fn hint_of(endpoint: &Endpoint, error: &tokio_postgres::Error) -> String {
    match error.as_db_error().and_then(|said| said.routine()) {
        // A role that does not exist has the code of a missing pg_hba.conf line; the server's own
        // function tells them apart in every language.
        Some("InitializeSessionUserId") => {
            format!("CREATE ROLE {} LOGIN REPLICATION;", identifier(endpoint.get("user")))
        }
        // The driver gives no code of its own to a server that asks for a password and gets none.
        None if told(error) == "password missing" => hint(endpoint, Some(&SqlState::INVALID_PASSWORD)),
        _ => hint(endpoint, error.code()),
    }
}

fn by_hand(endpoint: &Endpoint) -> String {
    format!("try it by hand: psql '{}'", endpoint.upstream(endpoint.get("user")))
}

/// A statement that failed.
pub(super) fn asking(server: &str, error: tokio_postgres::Error) -> Error {
    let text = match error.as_db_error() {
        Some(said) => format!("the server says: {}", said.message()),
        None => format!("the connection to {server} broke"),
    };
    let hint = error.as_db_error().and_then(|said| said.hint().map(str::to_owned));
    let failed = Error::failed(text).because(Asking(error));
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// The driver's error under a message that is not said twice.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(.0))]
struct Asking(tokio_postgres::Error);

/// The SQLSTATE of a statement's error, where the server gave one.
pub(crate) fn sqlstate(error: &Error) -> Option<&SqlState> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<Asking>()?.0.code()
}

/// Whether a statement failed for want of a right.
pub(crate) fn permission_denied(error: &Error) -> bool {
    sqlstate(error) == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// What the server or the system said, without the driver's own words around it.
fn told(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(said), _) => said.message().to_owned(),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => error.to_string(),
    }
}

fn hint(endpoint: &Endpoint, code: Option<&SqlState>) -> String {
    let (user, dbname) = (endpoint.get("user"), endpoint.get("dbname"));
    match code {
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => match endpoint.is_local() {
            true => format!("add to pg_hba.conf: `local {dbname} {user} peer`, then `SELECT pg_reload_conf()`"),
            false => format!(
                "add to pg_hba.conf: `host {dbname},replication {user} ADDRESS/32 scram-sha-256`, with the address \
                 of this machine, then `SELECT pg_reload_conf()`{}",
                or_by_tls(endpoint)
            ),
        },
        Some(code) if *code == SqlState::INVALID_PASSWORD => {
            "give the cluster a `password = { file = \"…\" }`, or put it into ~/.pgpass (mode 0600)".to_owned()
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            "name a database that exists: `dbname=postgres`".to_owned()
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("GRANT CONNECT ON DATABASE {} TO {};", identifier(dbname), identifier(user))
        }
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => {
            "the server is starting up or shutting down; try again when it answers".to_owned()
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
            "free a connection, or raise max_connections".to_owned()
        }
        Some(_) => by_hand(endpoint),
        None => unreachable(endpoint),
    }
}

/// What may be missing instead of a line in pg_hba.conf.
fn or_by_tls(endpoint: &Endpoint) -> &'static str {
    match endpoint.mode() {
        Mode::Disable => "; or, if there is a line with `hostssl`: sslmode=require",
        mode if mode >= Mode::Require && endpoint.get("sslcert").is_empty() => {
            "; or, if the server asks for a certificate: sslcert=/path sslkey=/path"
        }
        _ => "",
    }
}

fn unreachable(endpoint: &Endpoint) -> String {
    match endpoint.is_local() {
        true => format!("see whether the server runs and has its socket in {}", endpoint.get("host")),
        false => "see whether the server runs, its listen_addresses and port, and the firewall".to_owned(),
    }
}
