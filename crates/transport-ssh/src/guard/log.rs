//! Where a guard tells what it decided: the system's log, and a file where one is named.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where the system's log listens: Linux, FreeBSD.
const SOCKETS: [&str; 2] = ["/dev/log", "/var/run/log"];
/// The facility `authpriv` of RFC 5424.
const AUTHPRIV: u8 = 10;

/// How much a line matters, as RFC 5424 counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Warning = 4,
    Info = 6,
}

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<PathBuf>,
}

impl Log {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Adds a line, which must not hold the end of one. A log that can't be written keeps nobody from
    /// anything: what is refused stays refused, and a full disk stops no run.
    pub(super) fn write(&self, level: Level, line: &str) {
        let who = std::env::var("SSH_CONNECTION").unwrap_or_default();
        let from = who.split(' ').next().filter(|address| !address.is_empty()).unwrap_or("an unknown address");
        let line = format!("reseed-guard[{}]: from {from}: {line}", std::process::id());
        let message = format!("<{}>{line}", AUTHPRIV * 8 + level as u8);
        let _ = UnixDatagram::unbound().map(|socket| {
            // A log that does not listen in time is not waited for.
            let _ = socket.set_nonblocking(true);
            SOCKETS.iter().any(|path| socket.send_to(message.as_bytes(), path).is_ok())
        });
        if let Some(file) = &self.file {
            let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
            let _ = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        }
    }
}
