//! Questions to a server on its own machine, by `psql` through its Unix socket as its own user.

use reseed_core::{Error, Result};
use serde::de::DeserializeOwned;

use super::conninfo::of_pairs;
use super::postmaster::Postmaster;
use crate::service::Server;

/// Seconds that a connection may take.
const CONNECT: &str = "10";

impl Server {
    /// Runs one query and reads each row, which must be one JSON value, into a type.
    ///
    /// # Errors
    /// When the server does not answer, with what `psql` said.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, at: &Postmaster, sql: &str) -> Result<Vec<T>> {
        let command = self.program("psql").args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-d"]);
        let output = self.host.output(command.arg(address(at)).args(["-c", sql])).await?;
        if !output.exit.success() {
            let said = output.exit.stderr();
            return Err(Error::failed(format!("the server on {} does not answer: {said}", self.host.name())));
        }
        output.text().lines().filter(|line| !line.is_empty()).map(read).collect()
    }

    /// Runs one query that has exactly one row.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) async fn ask_one<T: DeserializeOwned>(&self, at: &Postmaster, sql: &str) -> Result<T> {
        let row = self.ask(at, sql).await?.pop();
        row.ok_or_else(|| Error::failed(format!("the server on {} answered nothing", self.host.name())))
    }
}

fn read<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|e| Error::failed(format!("psql printed `{line}`")).because(e))
}

pub(crate) fn address(at: &Postmaster) -> String {
    let listen = match at.listen.as_deref() {
        None | Some("*" | "0.0.0.0" | "::") => "localhost",
        Some(address) => address,
    };
    let (host, port) = (at.socket_directory.as_deref().unwrap_or(listen), at.port.to_string());
    let fixed = [("dbname", "postgres"), ("connect_timeout", CONNECT), ("application_name", "reseed")];
    of_pairs(&[("host", host), ("port", &port), fixed[0], fixed[1], fixed[2]])
}

#[cfg(test)]
mod tests {
    use super::super::postmaster::Status;
    use super::*;

    #[test]
    fn a_server_without_sockets_is_asked_where_it_listens() {
        let mut at =
            Postmaster { pid: 1, port: 5433, socket_directory: None, listen: Some("*".into()), status: Status::Ready };
        assert!(address(&at).starts_with("host=localhost port=5433 dbname=postgres"));
        at.socket_directory = Some("/run/my pg".into());
        assert!(address(&at).starts_with("host='/run/my pg' port=5433"));
    }
}
