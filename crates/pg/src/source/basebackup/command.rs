//! The commands that speak the replication protocol, with the password by standard input.

use std::sync::Arc;

use reseed_core::Result;
use reseed_core::host::{Command, Job, open_with};
use reseed_core::item::{StreamHeader, StreamItem};
use reseed_core::stage::StageCx;
use reseed_core::stream::{Deferred, Metered};

use super::survey::Taking;
use crate::session::Conninfo;
use crate::source::held::application;

/// Runs `"$@"` with the password that the first line of standard input is. Where nobody can see it:
/// not among the arguments, not in a file. Without `HOME`, libpq takes that of the user it runs as.
const FEED: &str = r#"unset HOME; IFS= read -r p || :
[ -z "$p" ] || { PGPASSWORD=$p; export PGPASSWORD; }
unset p; exec "$@" </dev/null"#;

/// A program of PostgreSQL's that logs in at the source, as the user of the standby's server.
pub(super) fn client(taking: &Taking, path: &str) -> Command {
    taking.standby.script(FEED).arg(path)
}

/// What is written to the standard input of a [`client`].
pub(super) fn secret(taking: &Taking) -> Vec<u8> {
    format!("{}\n", taking.password.as_deref().unwrap_or_default()).into_bytes()
}

/// The connection string for a replication connection.
pub(super) fn conninfo(taking: &Taking, run: &str) -> Result<Conninfo> {
    let mut conninfo = Conninfo::parse(&taking.source.upstream)?;
    conninfo.set("application_name", &application(run));
    Ok(conninfo)
}

/// The lazy stream of a base backup.
pub(super) fn stream(taking: &Taking, fast: bool, header: StreamHeader, cx: &StageCx) -> Result<StreamItem> {
    let conninfo = conninfo(taking, cx.run_id())?.to_string();
    let options = options(taking, fast, &conninfo, cx.run_id());
    let job = Job::from(client(taking, &taking.tool.path).args(options).titled("run"));
    let (host, input) = (Arc::clone(&taking.standby.host), secret(taking));
    let opened = Deferred::boxed(async move { open_with(host.as_ref(), &job, &input).await });
    // It comes over a wire of its own, which no transport counts.
    let counted = Metered::boxed(opened, Arc::clone(&cx.meters().wire));
    Ok(StreamItem::here(header, Metered::boxed(counted, Arc::clone(&cx.meters().stream))))
}

/// `-X fetch`: the archive holds the WAL that it needs. With `-X none` the server would wait until
/// its archive has that WAL, for ever if archiving is broken.
fn options(taking: &Taking, fast: bool, conninfo: &str, run: &str) -> Vec<String> {
    let checkpoint = if fast { "fast" } else { "spread" };
    let label = format!("reseed {run}");
    let fixed = ["-D", "-", "-F", "t", "-X", "fetch", "-w", "-c", checkpoint, "-l", &label, "-d", conninfo];
    let base = taking.choice.base().map(|base| format!("--incremental={}", base.path));
    fixed.into_iter().map(str::to_owned).chain(base).collect()
}
