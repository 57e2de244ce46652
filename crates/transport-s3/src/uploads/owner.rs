//! Whether a run that began something is still there.

use serde::{Deserialize, Serialize};

use super::now;

/// After so many seconds without a word a run on another machine counts as gone. Should it be there after
/// all, one of the two wins, and the other says so.
const SILENT: u64 = 24 * 3600;

/// Where a run is: machine, boot and process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The machine's name; empty where that can't be told.
    pub host: String,
    /// Which time it was booted; empty where that can't be told.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// When the process began, in the machine's own ticks; empty where that can't be told. A number is used
    /// again by a later process.
    pub began: String,
}

impl Owner {
    /// This process.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self { host: host(), boot: boot(), pid, began: began(pid).unwrap_or_default() }
    }

    /// Whether it is known to be gone, `at` being when it was heard of last, in seconds since 1970.
    pub fn is_gone(&self, at: u64) -> bool {
        let here = Self::this_process();
        if here.host != self.host || self.boot.is_empty() {
            return now().saturating_sub(at) > SILENT;
        }
        here.boot != self.boot || began(self.pid).is_none_or(|began| began != self.began)
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// When a process began; `None` where there is none.
fn began(pid: u32) -> Option<String> {
    reseed_core::host::began(pid).map(|ticks| ticks.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_is() {
        let here = Owner::this_process();
        assert!(!here.is_gone(0), "however long ago it was heard of");
        assert!(Owner { pid: u32::MAX, ..here.clone() }.is_gone(now()));
        assert!(Owner { began: "1".into(), ..here.clone() }.is_gone(now()), "another has its number");
        assert!(Owner { boot: "another".into(), ..here.clone() }.is_gone(now()));
        let far = Owner { host: "far.example.org".into(), ..here };
        assert!(!far.is_gone(now() - 3600) && far.is_gone(now() - SILENT - 1));
    }
}
