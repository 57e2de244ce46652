//! Why a server did not become a good standby, from what it wrote to its log.

use std::time::{SystemTime, UNIX_EPOCH};

use reseed_core::host::Command;
use reseed_core::{Error, Result};

use crate::service::{Control, Server};

/// Prints what the server has logged since a moment: `$1` its log file, `$2` the bytes that were in it,
/// `$3` its data directory, whose `current_logfiles` tells of a logging collector, `$4` a unit, `$5`
/// the moment in seconds since 1970.
const TAIL: &str = r#"if [ -n "$1" ] && [ -f "$1" ]; then
  size=$(wc -c < "$1"); [ "$size" -ge "$2" ] || set -- "$1" 0 "$3" "$4" "$5"
  tail -c "+$(( $2 + 1 ))" -- "$1" | tail -c 65536
fi
if [ -f "$3/current_logfiles" ]; then
  f=$(sed -n '1s/^[a-z]* //p' "$3/current_logfiles")
  case $f in /*) ;; *) f=$3/$f;; esac
  [ ! -f "$f" ] || tail -c 65536 -- "$f" | awk '/starting PostgreSQL|database system was (interrupted|shut down)/ { n = 0 } { l[n++] = $0 } END { for (i = 0; i < n; i++) print l[i] }'
fi
if [ -n "$4" ]; then journalctl -u "$4" --since "@$5" -o cat --no-pager -n 500 2>/dev/null; fi
exit 0"#;

/// Makes the log file `$1`, owned by `$2`, if there is none and the server shall append to it, and
/// prints the bytes in it.
const PREPARE: &str = r#"[ -n "$1" ] || exit 0
if [ -n "$2" ] && [ ! -e "$1" ] && [ ! -L "$1" ]; then
  umask 077; : > "$1" && { [ "$(id -u)" != 0 ] || chown "$2" "$1"; }
fi
wc -c < "$1" 2>/dev/null; exit 0"#;

/// Where a server's log ended before it was started.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    bytes: u64,
    seconds: u64,
}

impl Mark {
    /// The end of the log as it is now, right before a start. Where `pg_ctl` shall write a log, the
    /// file is made: the directory may be one that the server's user can't write to.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub(crate) async fn of(server: &Server) -> Result<Self> {
        let writes = matches!(server.service.control, Control::PgCtl { .. });
        let prepare = Command::script(PREPARE).arg(server.log_file().unwrap_or_default());
        let text = server.host.run(prepare.arg(if writes { &server.user } else { "" }).as_root()).await?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs());
        Ok(Self { bytes: text.trim().parse().unwrap_or(0), seconds: seconds.unwrap_or_default() })
    }

    /// What the server has logged since.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub(crate) async fn since(&self, server: &Server) -> Result<String> {
        let unit = match &server.service.control {
            Control::Systemd { unit } => unit.clone(),
            _ => String::new(),
        };
        let tail = Command::script(TAIL).arg(server.log_file().unwrap_or_default()).arg(self.bytes.to_string());
        let tail = tail.arg(&server.data_directory).arg(unit).arg(self.seconds.to_string());
        server.host.run(tail.as_root()).await
    }
}

/// Why a standby is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// What is wrong.
    pub(crate) what: String,
    /// What helps.
    pub(crate) hint: Option<&'static str>,
    /// Whether waiting can't mend it.
    pub(crate) lasting: bool,
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        let error = Error::failed(cause.what);
        match cause.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

struct Known {
    /// What the server writes.
    text: &'static str,
    /// What that means.
    what: &'static str,
    hint: &'static str,
    lasting: bool,
}

/// From the most telling to the least.
const KNOWN: [Known; 23] = [
    Known {
        text: "database system identifier differs between the primary and standby",
        what: "the upstream is another cluster: its system identifier differs",
        hint: "see host and port in `primary_conninfo`",
        lasting: true,
    },
    Known {
        text: "ERROR:  replication slot \"",
        what: "the replication slot can't be used",
        hint: "see `SELECT slot_name, active FROM pg_replication_slots` on the primary, and `primary_slot`",
        lasting: true,
    },
    Known {
        text: "is not a child of this server's history",
        what: "the timelines forked: the upstream does not have the history of the copy",
        hint: "the upstream was failed over; copy from the server that is the primary now",
        lasting: true,
    },
    Known {
        text: "forked off current database system timeline",
        what: "the timelines forked before the copy was taken",
        hint: "the upstream was failed over; copy from the server that is the primary now",
        lasting: true,
    },
    Known {
        text: "is behind recovery timeline",
        what: "the timelines forked: the upstream is on an older timeline than the copy",
        hint: "see host and port in `primary_conninfo`",
        lasting: true,
    },
    Known {
        text: "is ahead of the WAL flush position",
        what: "the timelines forked: the copy is ahead of the upstream",
        hint: "see host and port in `primary_conninfo`",
        lasting: true,
    },
    Known {
        text: "has already been removed",
        what: "the WAL that the standby needs has been removed on the primary",
        hint: "raise max_slot_wal_keep_size or wal_keep_size on the primary, and run it again",
        lasting: false,
    },
    Known {
        text: "insufficient parameter settings",
        what: "a setting is lower than on the primary: insufficient parameter",
        hint: "raise it by `settings` of the stage pg-configure",
        lasting: true,
    },
    Known {
        text: "is a lower setting than on the",
        what: "a setting is lower than on the primary: insufficient parameter",
        hint: "raise it by `settings` of the stage pg-configure",
        lasting: true,
    },
    Known {
        text: "exists, but wal_level <",
        what: "the copy holds a slot of logical replication that it can't serve",
        hint: "put the stage pg-configure in front, which empties pg_replslot",
        lasting: true,
    },
    Known {
        text: "WAL was generated with wal_level=minimal",
        what: "the primary ran with wal_level = minimal",
        hint: "ALTER SYSTEM SET wal_level = replica, restart the primary, and run it again",
        lasting: true,
    },
    Known {
        text: "no pg_hba.conf entry for replication connection",
        what: "the upstream's pg_hba.conf lets no replication in from here",
        hint: "add `host replication USER ADDRESS/32 scram-sha-256` to its pg_hba.conf, and reload it",
        lasting: false,
    },
    Known {
        text: "password authentication failed",
        what: "the upstream refuses the password of the replication user",
        hint: "put it into ~/.pgpass of the server's user (mode 0600)",
        lasting: false,
    },
    Known {
        text: "fe_sendauth: no password supplied",
        what: "the upstream asks for a password and the standby has none",
        hint: "put it into ~/.pgpass of the server's user (mode 0600)",
        lasting: true,
    },
    Known {
        text: "number of requested standby connections exceeds max_wal_senders",
        what: "the primary has no free wal sender",
        hint: "raise max_wal_senders on the primary",
        lasting: false,
    },
    Known {
        text: "invalid permissions",
        what: "the data directory has a mode that the server refuses",
        hint: "chmod 0700 the data directory",
        lasting: true,
    },
    Known {
        text: "Address already in use",
        what: "another server has the port",
        hint: "set `port` in `settings` of the stage pg-configure",
        lasting: false,
    },
    Known {
        text: "could not locate a valid checkpoint record",
        what: "the copy has no checkpoint to start from",
        hint: "the snapshot did not hold pg_wal, or the label was lost",
        lasting: true,
    },
    Known {
        text: "could not locate required checkpoint record",
        what: "the copy has no checkpoint to start from",
        hint: "the snapshot did not hold pg_wal, or the label was lost",
        lasting: true,
    },
    Known {
        text: "could not load pg_hba.conf",
        what: "the copy has no pg_hba.conf that can be read",
        hint: "name it in `keep_files` of the stage pg-configure",
        lasting: true,
    },
    Known {
        text: "could not access file",
        what: "a library that the configuration asks for is missing",
        hint: "install the same extensions as on the primary",
        lasting: true,
    },
    Known {
        text: "could not load library",
        what: "a library that the configuration asks for is missing",
        hint: "install the same extensions as on the primary",
        lasting: true,
    },
    Known {
        text: "could not connect to the primary server",
        what: "the standby can't reach its upstream",
        hint: "see host and port in `primary_conninfo`, the primary's listen_addresses, and the firewall",
        lasting: false,
    },
];

/// The cause that a log names: a known one, or else the last error that no server survives.
pub(crate) fn cause(log: &str) -> Option<Cause> {
    let known = KNOWN.iter().find_map(|known| {
        let line = log.lines().rfind(|line| line.contains(known.text))?;
        let what = format!("{} (the server's log: {})", known.what, message(line));
        Some(Cause { what, hint: Some(known.hint), lasting: known.lasting && !passing(line) })
    });
    known.or_else(|| {
        let line = log.lines().rfind(|line| line.contains("PANIC:  ") || line.contains("FATAL:  "))?;
        let what = format!("the server's log says: {}", message(line));
        Some(Cause { what, hint: None, lasting: false })
    })
}

/// A slot that another process still holds becomes free.
fn passing(line: &str) -> bool {
    line.contains("is active for PID")
}

/// A line of the log without time and process.
fn message(line: &str) -> &str {
    let levels = ["PANIC:  ", "FATAL:  ", "ERROR:  ", "LOG:  ", "DETAIL:  "];
    let at = levels.iter().filter_map(|level| line.find(level).map(|at| at + level.len())).min();
    line[at.unwrap_or(0)..].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as servers of versions 10 to 18 wrote them.
    #[test]
    fn causes_are_named() {
        let cases = [
            (
                "2026-11-23 21:00:00.123 UTC [7] FATAL:  database system identifier differs between the primary and standby",
                "system identifier differs",
                true,
            ),
            (
                "2026 UTC [7] FATAL:  could not start WAL streaming: ERROR:  replication slot \"reseed_x\" does not exist",
                "replication slot \"reseed_x\" does not exist",
                true,
            ),
            (
                "x FATAL:  could not start WAL streaming: ERROR:  replication slot \"a\" is active for PID 1201",
                "is active for PID 1201",
                false,
            ),
            ("x FATAL:  requested timeline 2 is not a child of this server's history", "timelines forked", true),
            (
                "x [9] FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000003 has already been removed",
                "segment 000000010000000000000003 has already",
                false,
            ),
            (
                "x FATAL:  hot standby is not possible because max_connections = 20 is a lower setting than on the master server (its value was 100)",
                "insufficient parameter",
                true,
            ),
            ("x FATAL:  recovery aborted because of insufficient parameter settings", "insufficient parameter", true),
            (
                "x [9] FATAL:  could not connect to the primary server: connection to server at \"10.0.0.1\", port 5432 failed: fe_sendauth: no password supplied",
                "asks for a password and the standby has none",
                true,
            ),
            ("x FATAL:  something new", "the server's log says: something new", false),
        ];
        for (line, what, lasting) in cases {
            let log = format!("x LOG:  starting PostgreSQL 15.18\n{line}\nx LOG:  database system is shut down\n");
            let cause = cause(&log).unwrap();
            assert!(cause.what.contains(what), "{}", cause.what);
            assert_eq!(cause.lasting, lasting, "{line}");
        }
        assert_eq!(cause("x LOG:  consistent recovery state reached at 0/3000100\n"), None);
    }
}
