//! Connecting: every way that the settings allow, in their order.

use std::time::Duration;

use reseed_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

use super::endpoint::Endpoint;
use super::errors;
use super::tls::{self, Mode, Way};

/// How long a server may take to answer a new connection.
pub(super) const CONNECT: Duration = Duration::from_secs(15);

/// A connection's client, and the task that moves its bytes.
pub(super) type Line = (Client, JoinHandle<()>);

type Connected<S> = std::result::Result<(Client, Connection<Socket, S>), tokio_postgres::Error>;

/// Why one way led nowhere.
pub(super) enum Failed {
    /// What the driver said.
    Driver(tokio_postgres::Error),
    /// Its files can't be used.
    Unready(Error),
    /// The server did not answer in time.
    Silent,
}

impl Failed {
    /// Whether another way may lead further: TLS did not come about, or the server does not let this
    /// one in.
    fn of_the_way(&self) -> bool {
        match self {
            Self::Driver(error) => tls::is_of_tls(error) || errors::is_locked_out(error),
            Self::Unready(_) => true,
            Self::Silent => false,
        }
    }
}

/// Connects. A mode that may go without TLS has a second way where the first fails.
pub(super) async fn dial(endpoint: &Endpoint, application: &str) -> Result<Line> {
    let mut config = endpoint.config()?;
    config.application_name(application);
    let (first, second) = endpoint.ways();
    let failed = match by(first, endpoint, config.clone()).await {
        Ok(line) => return Ok(line),
        Err(failed) => failed,
    };
    let Some(second) = second.filter(|_| failed.of_the_way()) else {
        return Err(errors::connecting(endpoint, failed));
    };
    let again = by(second, endpoint, config).await;
    again.map_err(|again| errors::connecting_twice(endpoint, (first, failed), (second, again)))
}

async fn by(way: Way, endpoint: &Endpoint, mut config: Config) -> std::result::Result<Line, Failed> {
    if way == Way::Plain {
        config.ssl_mode(SslMode::Disable);
        return connect(config.connect(NoTls)).await;
    }
    // A server that says no to TLS goes on without it on the same connection, where that is allowed.
    let weak = endpoint.mode() < Mode::Require;
    config.ssl_mode(if weak { SslMode::Prefer } else { SslMode::Require });
    if endpoint.is_direct() {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    let connector = tls::connector(endpoint.settings(), endpoint.mode()).map_err(Failed::Unready)?;
    connect(config.connect(connector)).await
}

async fn connect<S>(connecting: impl Future<Output = Connected<S>>) -> std::result::Result<Line, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected = tokio::time::timeout(CONNECT, connecting).await.map_err(|_| Failed::Silent)?;
    let (client, connection) = connected.map_err(Failed::Driver)?;
    // The task ends with the connection; what went wrong is told by the next statement.
    Ok((client, tokio::spawn(async move { drop(connection.await) })))
}
