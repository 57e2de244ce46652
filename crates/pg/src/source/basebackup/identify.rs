//! Whether the standby's machine is let in for replication, and by which server.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::command::{client, conninfo, secret};
use super::survey::Taking;

/// Opens a replication connection as the backup will, and asks who answers.
///
/// # Errors
/// A refusal when nobody does, or another cluster.
pub(super) async fn identify(taking: &Taking, cx: &CheckCx) -> Result<()> {
    let server = &taking.standby;
    let mut conninfo = conninfo(taking, cx.run_id())?;
    conninfo.set("replication", "true");
    let psql = client(taking, &server.psql).args(["-X", "-A", "-t", "-q", "-w", "-d", &conninfo.to_string()]);
    let psql = psql.args(["-c", "IDENTIFY_SYSTEM"]).titled("run");
    let output = server.host.output_with(psql, &secret(taking)).await?;
    if !output.exit.success() {
        return Err(not_let_in(taking, &output.exit.stderr()));
    }
    let text = output.text();
    let theirs = text.split('|').next().unwrap_or_default().trim();
    let ours = taking.source.system_identifier;
    if theirs == ours.to_string() {
        return Ok(());
    }
    let on = server.host.name();
    Err(Error::refused(format!("from {on} another cluster answers: its system identifier is {theirs}, not {ours}"))
        .hint("let `conninfo` of the source lead to the same server from every machine"))
}

fn not_let_in(taking: &Taking, said: &str) -> Error {
    let (server, role) = (&taking.standby, &taking.server.role.name);
    let said = said.lines().last().unwrap_or("psql says nothing");
    let text = format!("{} is not let in at the source for replication, as user {}", server.host.name(), server.user);
    Error::refused(text).because(Error::refused(said)).hint(format!(
        "add to the source's pg_hba.conf: `host replication {role} ADDRESS/32 scram-sha-256`, with the standby's \
         address, then `SELECT pg_reload_conf()`"
    ))
}
