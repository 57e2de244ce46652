//! Who a process is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process, told from every other one that has or had its number.
///
/// Whether a run is alive is not judged by this but by the lock on its journal; this is for people.
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
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started: std::fs::read_to_string("/proc/self/stat").map_or(0, |stat| started(&stat)),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map_or_else(|_| String::new(), |id| id.trim().to_owned()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Field 22 of proc(5)'s `stat`. The second field is a name that may hold anything.
fn started(stat: &str) -> u64 {
    let behind_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    behind_name.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_start_of_a_process_is_found_behind_whatever_its_name_is() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(super::started(stat), 4711);
        assert_eq!(super::started("nonsense"), 0);
    }
}
