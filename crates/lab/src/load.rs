//! A load of writes on a server.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::process::{Tool, wait_until};

/// A pgbench that writes until it is stopped or dropped.
#[derive(Debug)]
pub struct Load {
    process: Option<Child>,
}

impl Load {
    pub(crate) fn start(pgbench: &Tool) -> Result<Self> {
        Ok(Self { process: Some(pgbench.start()?) })
    }

    /// Whether it still runs: a load ends by itself when its server does.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Ends it.
    pub fn stop(self) {}
}

impl Drop for Load {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            // Asked politely, pgbench closes its sessions; it is ours, and not reaped yet.
            let _ = kill_process(pid, Signal::INT);
        }
        // Who ignores that, as what was started behind another program's back does, is ended.
        let ended = || Ok(process.try_wait().map_or(true, |status| status.is_some()));
        if wait_until("the end of pgbench", Duration::from_secs(5), ended).is_err() {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ignores_being_interrupted_is_ended() {
        let deaf = Tool::new("sh").args(["-c", "trap '' INT; while :; do sleep 1; done"]);
        let load = Load::start(&deaf).unwrap();
        let pid = load.process.as_ref().unwrap().id();
        drop(load);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
