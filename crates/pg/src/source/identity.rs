//! Whether a data directory on a host is the one of the server that answers there: a snapshot of one
//! server under the label of another would be damaged silently.
//!
//! `postmaster.pid` (`src/include/utils/pidfile.h`) tells start and port of the server that runs in
//! the directory; `global/pg_control` (`src/include/catalog/pg_control.h`) begins with the system
//! identifier, and tells a primary's state from a standby's. Both have been like this since 10.

use reseed_core::host::Host;
use reseed_core::{Error, Result};

use super::server::Server;

/// `pg_postmaster_start_time()` is noted some time after the process began, by which
/// `postmaster.pid` goes; a large shared memory takes seconds to set up in between.
const SLACK: i64 = 120;
/// `DB_IN_PRODUCTION`.
const IN_PRODUCTION: u32 = 6;

/// What files say about the server that runs in a directory.
#[derive(Debug, PartialEq, Eq)]
struct Running {
    started: i64,
    port: u16,
}

/// What the control file says.
#[derive(Debug, PartialEq, Eq)]
struct Control {
    system_identifier: u64,
    in_production: bool,
}

/// Fails if the directory is not the server's. `Ok(false)` where the files can't be read.
pub(super) async fn verify(host: &dyn Host, directory: &str, server: &Server) -> Result<bool> {
    let (pid, control) = (format!("{directory}/postmaster.pid"), format!("{directory}/global/pg_control"));
    let files = host.files();
    let (pid, control) = tokio::join!(files.read_text(&pid), files.read(&control));
    let (Ok(pid), Ok(control)) = (pid, control) else { return Ok(false) };
    let at = format!("{directory} on {}", host.name());
    let running = pid.as_deref().and_then(running);
    let control = control.as_deref().and_then(|bytes| read_control(bytes, server.vitals.system_identifier));
    judge(running.as_ref(), control.as_ref(), server, &at)
        .map_err(|error| error.hint("`host` and `conninfo` of the cluster must lead to the same server"))?;
    Ok(true)
}

fn judge(running: Option<&Running>, control: Option<&Control>, server: &Server, at: &str) -> Result<()> {
    let refused = |what: &str| Err(Error::refused(format!("{at} {what}")));
    let Some(running) = running else { return refused("has no server running in it") };
    let Some(control) = control else { return refused("is no data directory") };
    if control.system_identifier != server.vitals.system_identifier {
        return refused("belongs to another cluster than the server that answers: the system identifiers differ");
    }
    let same_start = (running.started - server.started).abs() <= SLACK;
    let same_state = control.in_production != server.vitals.in_recovery;
    if running.port != server.port || !same_start || !same_state {
        return refused("belongs to another server than the one that answers, of the same cluster");
    }
    Ok(())
}

/// Lines: process id, data directory, start time, port, …
fn running(text: &str) -> Option<Running> {
    let mut lines = text.lines().skip(2);
    Some(Running { started: lines.next()?.trim().parse().ok()?, port: lines.next()?.trim().parse().ok()? })
}

/// The server's own byte order is the one in which the identifier reads as expected; where neither
/// does, they differ, and the order does not matter.
fn read_control(bytes: &[u8], expected: u64) -> Option<Control> {
    let identifier: [u8; 8] = bytes.get(0..8)?.try_into().ok()?;
    let state: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
    let (system_identifier, state) = match u64::from_be_bytes(identifier) == expected {
        true => (expected, u32::from_be_bytes(state)),
        false => (u64::from_le_bytes(identifier), u32::from_le_bytes(state)),
    };
    Some(Control { system_identifier, in_production: state == IN_PRODUCTION })
}

#[cfg(test)]
mod tests {
    use super::super::tests::server;
    use super::*;

    /// The beginning of a pg_control of PostgreSQL 15 in production.
    const CONTROL: [u8; 24] = [
        0x5a, 0x1f, 0x0e, 0x3c, 0x7b, 0x2a, 0x58, 0x69, 0x14, 0x05, 0, 0, 0x27, 0x6e, 0x02, 0x0c, 6, 0, 0, 0, 0, 0, 0,
        0,
    ];
    const PID: &str = "4711\n/data/pg\n1700000000\n5433\n/tmp\nlocalhost\n  9437188       3\nready   \n";

    #[test]
    fn both_files_are_read() {
        assert_eq!(running(PID), Some(Running { started: 1_700_000_000, port: 5433 }));
        let control = read_control(&CONTROL, 7).unwrap();
        assert_eq!(control, Control { system_identifier: 0x6958_2a7b_3c0e_1f5a, in_production: true });
        assert_eq!(read_control(&CONTROL[..12], 7), None);
        assert_eq!(running("4711\n"), None);
    }

    #[test]
    fn another_server_is_told_from_this_one() {
        let mut this = server();
        (this.port, this.started) = (5433, 1_700_000_003);
        let id = this.vitals.system_identifier;
        let good = Control { system_identifier: id, in_production: true };
        let here = running(PID).unwrap();
        assert!(judge(Some(&here), Some(&good), &this, "/d").is_ok());
        let said = |running: Option<&Running>, control: &Control| {
            judge(running, Some(control), &this, "/d").unwrap_err().to_string()
        };
        assert!(said(None, &good).contains("no server running"));
        assert!(
            said(Some(&here), &Control { system_identifier: id + 1, in_production: true }).contains("another cluster")
        );
        assert!(said(Some(&here), &Control { in_production: false, ..good }).contains("another server"));
        assert!(said(Some(&Running { port: 1, ..here }), &good).contains("another server"));
        let later = Running { started: 1_700_009_000, port: 5433 };
        assert!(said(Some(&later), &good).contains("another server"));
    }
}
