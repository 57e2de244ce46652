//! Who a process is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::stat::Stat;
use crate::host::{began, mark};

/// A process, told from every other one that has or had its number.
///
/// Whether a run is alive is not judged by this but by the lock on its journal: this is for people, and for finding
/// what a process has left at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// When it began, in clock ticks since the machine was booted; 0 where the system does not tell.
    pub started: u64,
    /// Which boot of the machine; empty where the system does not tell.
    pub boot: String,
    /// The mark of what it starts, see [`mark`]; empty where it had none.
    #[serde(default)]
    pub mark: String,
    /// The session that it is in; 0 where it did not tell.
    #[serde(default)]
    pub session: u32,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let (pid, stat) = (std::process::id(), Stat::of(std::process::id()));
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid,
            started: stat.as_ref().map_or(0, |stat| stat.began),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map_or_else(|_| String::new(), |id| id.trim().to_owned()),
            mark: mark().to_owned(),
            session: session(stat.as_ref()),
        }
    }
}

impl Owner {
    /// Whether it is there, as far as the system tells when a process began.
    pub(super) fn is_alive(&self) -> bool {
        self.was_here() && began(self.pid) == Some(self.started)
    }

    /// Whether it ran on this machine, since the machine was booted.
    pub(super) fn was_here(&self) -> bool {
        let here = Self::this();
        self.host == here.host && self.boot == here.boot
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

#[cfg(target_os = "linux")]
fn session(stat: Option<&Stat>) -> u32 {
    stat.map_or(0, |stat| stat.session)
}

#[cfg(not(target_os = "linux"))]
fn session(_: Option<&Stat>) -> u32 {
    rustix::process::getsid(None).map_or(0, |session| session.as_raw_nonzero().get().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_of_an_older_journal_has_no_mark() {
        let text = r#"{"host":"db1","pid":7,"started":4711,"boot":"b"}"#;
        let owner: Owner = serde_json::from_str(text).unwrap();
        assert_eq!((owner.pid, owner.mark.as_str(), owner.session), (7, "", 0));
        let this = Owner::this();
        assert_eq!(serde_json::from_str::<Owner>(&serde_json::to_string(&this).unwrap()).unwrap(), this);
        assert_eq!(this.mark, crate::host::mark());
        assert!(!owner.is_alive() && (this.is_alive() || this.started == 0));
    }
}
