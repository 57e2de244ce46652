//! A running server as its `postmaster.pid` and the process table show it.
//!
//! The exit codes of service programs prove nothing, so this alone decides whether a server runs.
//! Waiting is done by one script on the server's machine, so that a slow wire does not blur when it
//! came up or went down.

use std::time::Duration;

use reseed_core::host::{Command, Host};
use reseed_core::{Error, Result};

/// `alive PID DIRECTORY`: whether this process is the server of this data directory. A postmaster's
/// working directory is its data directory, which tells it from a process that got its number later.
/// `look DIRECTORY` sets `pid` and `status` from the pid file. Builtins only: while these loops run,
/// somebody waits for a server.
macro_rules! functions {
    () => {
        r#"alive() {
  kill -0 "$1" 2>/dev/null || return 1
  [ -r "/proc/$1/stat" ] || return 0
  { IFS= read -r stat < "/proc/$1/stat"; } 2>/dev/null
  case ${stat##*) } in ''|Z*|X*) return 1;; esac
  [ ! -e "/proc/$1/cwd" ] || [ "/proc/$1/cwd" -ef "$2" ]
}
look() {
  pid=; status=
  { { read -r pid; read -r x; read -r x; read -r x; read -r x; read -r x; read -r x; read -r status; } \
    < "$1/postmaster.pid"; } 2>/dev/null
  case $pid in ''|*[!0-9]*) pid=; return 1;; esac
  alive "$pid" "$1"
}
turns=0
nap() {
  turns=$(( turns + 1 ))
  [ $(( turns % 50 )) != 0 ] || [ "$(date +%s)" -lt "$end" ] || exit 45
  sleep 0.01 2>/dev/null || { sleep 1; turns=$(( turns + 49 )); }
}
"#
    };
}

/// Prints the pid file of a living server. To remove it is the last thing that a server does: where it
/// goes while it is looked at, the server's end is awaited.
const LOOK: &str = concat!(
    functions!(),
    r#"[ -d "$1" ] || exit 44
[ -x "$1" ] && [ -r "$1" ] || exit 43
look "$1" || exit 44
text=$(cat -- "$1/postmaster.pid" 2>/dev/null) && printf '%s\n' "$text" && exit
end=$(( $(date +%s) + 20 ))
while alive "$pid" "$1"; do nap; done
exit 44"#
);

/// Waits until the server has come up as far as it will: its pid file then says so.
const WAIT_UP: &str = concat!(
    functions!(),
    r#"end=$(( $(date +%s) + $2 )); seen=
while :; do
  if look "$1"; then
    seen=1
    case $status in
      ready*|standby*) text=$(cat -- "$1/postmaster.pid" 2>/dev/null) && printf '%s\n' "$text" && exit;;
    esac
  elif [ -n "$seen" ]; then exit 46
  fi
  nap
done"#
);

/// Waits until the server with this process is gone.
const WAIT_DOWN: &str = concat!(
    functions!(),
    r#"end=$(( $(date +%s) + $3 ))
while alive "$2" "$1"; do nap; done"#
);

const NO_RIGHT: i32 = 43;
const ABSENT: i32 = 44;
const TOO_LATE: i32 = 45;
const DIED: i32 = 46;

/// How far a server is, in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Recovering, or starting.
    Starting,
    /// On its way down.
    Stopping,
    /// Answers queries.
    Ready,
    /// A standby with `hot_standby = off`: it runs, and answers no query.
    Standby,
}

/// A living server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postmaster {
    /// Its process.
    pub(crate) pid: u32,
    /// Its port.
    pub(crate) port: u16,
    /// The first directory of its Unix sockets, if it has any.
    pub(crate) socket_directory: Option<String>,
    /// The first address that it listens on, if it has any.
    pub(crate) listen: Option<String>,
    /// How far it is.
    pub(crate) status: Status,
}

/// Why a server did not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotUp {
    /// It was there and has gone.
    Died,
    /// It is still starting, or was never seen.
    TooLate,
}

impl Postmaster {
    /// The living server of a data directory, if there is one.
    ///
    /// # Errors
    /// When the directory is there and may not be looked into: then nobody can tell.
    pub(crate) async fn look(host: &dyn Host, data_directory: &str) -> Result<Option<Self>> {
        let output = host.output(Command::script(LOOK).arg(data_directory).as_root()).await?;
        match output.exit.code() {
            Some(ABSENT) => Ok(None),
            Some(NO_RIGHT) => {
                let error = format!("no right to look into {data_directory} on {}", host.name());
                let hint = format!("run as root, or add `become = \"sudo\"` to the host `{}`", host.name());
                Err(Error::failed(error).hint(hint))
            }
            _ => {
                output.exit.success_on(host.name())?;
                Ok(parse(&output.text()))
            }
        }
    }

    /// Waits until the server of a data directory answers queries, or, with `hot_standby = off`,
    /// runs.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub(crate) async fn up(host: &dyn Host, data_directory: &str, within: Duration) -> Result<Result<Self, NotUp>> {
        let wait = Command::script(WAIT_UP).arg(data_directory).arg(within.as_secs().max(1).to_string());
        let output = host.output(wait.as_root()).await?;
        match output.exit.code() {
            Some(TOO_LATE) => Ok(Err(NotUp::TooLate)),
            Some(DIED) => Ok(Err(NotUp::Died)),
            _ => {
                output.exit.success_on(host.name())?;
                let seen = parse(&output.text());
                seen.map(Ok).ok_or_else(|| Error::failed(format!("{data_directory}/postmaster.pid can't be read")))
            }
        }
    }

    /// Waits until this server is gone; false when it still was there at the end of the time.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub(crate) async fn gone(&self, host: &dyn Host, data_directory: &str, within: Duration) -> Result<bool> {
        let wait = Command::script(WAIT_DOWN).arg(data_directory).arg(self.pid.to_string());
        let output = host.output(wait.arg(within.as_secs().max(1).to_string()).as_root()).await?;
        if output.exit.code() == Some(TOO_LATE) {
            return Ok(false);
        }
        output.exit.success_on(host.name()).map(|()| true)
    }
}

/// Reads a pid file of PostgreSQL 10 or later: process, data directory, start time, port, socket
/// directory, address, shared memory, status.
fn parse(text: &str) -> Option<Postmaster> {
    let line = |at: usize| text.lines().nth(at).map(str::trim).filter(|line| !line.is_empty());
    let status = match line(7) {
        Some("ready") => Status::Ready,
        Some("standby") => Status::Standby,
        Some("stopping") => Status::Stopping,
        _ => Status::Starting,
    };
    Some(Postmaster {
        pid: line(0)?.parse().ok()?,
        // A server that is only starting has not written its port yet.
        port: line(3).and_then(|port| port.parse().ok()).unwrap_or_default(),
        socket_directory: line(4).map(str::to_owned),
        listen: line(5).map(str::to_owned),
        status,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use reseed_core::host::{LocalConfig, LocalHost};

    use super::*;

    /// The server goes at the very moment at which its pid file is to be printed.
    const CAT: &str = r#"#!/bin/sh
read -r pid < "$2"; rm "$2"; kill "$pid"; exec /bin/cat "$@""#;

    #[tokio::test]
    async fn a_server_that_goes_while_it_is_looked_at_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (data, shims) = (directory.path().join("data"), directory.path().join("shims"));
        [&data, &shims].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
        std::fs::write(shims.join("cat"), CAT).unwrap();
        std::fs::set_permissions(shims.join("cat"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("PATH={}:/usr/bin:/bin", shims.display());
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        for (script, expected) in [(LOOK, ABSENT), (WAIT_UP, DIED)] {
            let begin = r#"cd "$1" && { sleep 60 >/dev/null 2>&1 & printf '%s\nx\nx\nx\nx\nx\nx\nready\n' $! > postmaster.pid; }"#;
            host.run(Command::script(begin).arg(data.to_string_lossy())).await.unwrap();
            let command = Command::new("env").args([path.as_str(), "sh", "-c", script, "sh"]);
            let output = host.output(command.arg(data.to_string_lossy()).arg("20")).await.unwrap();
            assert_eq!((output.exit.code(), output.text().as_str()), (Some(expected), ""), "{script}");
        }
    }

    #[test]
    fn a_pid_file_is_read_at_each_moment() {
        let ready = "2177\n/data/pg\n1795469090\n5433\n/run/my sockets\nlocalhost\n   132078         0\nready   \n";
        let server = parse(ready).unwrap();
        assert_eq!((server.pid, server.port, server.status), (2177, 5433, Status::Ready));
        assert_eq!(server.socket_directory.as_deref(), Some("/run/my sockets"));
        let starting = parse("2177\n/data/pg\n1795469090\n").unwrap();
        assert_eq!((starting.port, starting.status), (0, Status::Starting));
        let tcp_only = parse("1\n/d\n2\n5432\n\n*\n\nstandby \n").unwrap();
        assert_eq!((tcp_only.socket_directory, tcp_only.status), (None, Status::Standby));
        assert_eq!(tcp_only.listen.as_deref(), Some("*"));
        assert_eq!(parse(""), None);
    }
}
