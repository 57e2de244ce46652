//! An sshd of its own for each test.
#![allow(dead_code, reason = "each test binary uses its part")]

use reseed_core::config::Located;
use reseed_lab::{FarPath, Lab, Sshd, Tool, is_root};
use reseed_transport_ssh::{SshConfig, SshHost};

/// A lab with an sshd, and how to reach it.
pub struct Far {
    pub lab: Lab,
    pub sshd: Sshd,
}

impl Far {
    /// An sshd, unless this machine can't have one; then says so.
    pub fn new() -> Option<Self> {
        Self::with(&FarPath::Usual)
    }

    /// An sshd whose sessions have this PATH.
    pub fn with(path: &FarPath) -> Option<Self> {
        let ready = is_root() && std::path::Path::new("/usr/sbin/sshd").exists();
        if !ready {
            assert!(std::env::var_os("CI").is_none(), "sshd and root are missing in CI");
            println!("skipped: needs root and openssh-server");
            return None;
        }
        let lab = Lab::new().unwrap();
        let sshd = Sshd::in_lab(&lab, path).unwrap();
        Some(Self { lab, sshd })
    }

    pub fn config(&self) -> SshConfig {
        let mut config = SshConfig::new("root@127.0.0.1");
        config.port = Some(self.sshd.port);
        config.identity_file = Some(self.sshd.identity_file.clone());
        config.known_hosts = Some(self.sshd.known_hosts.clone());
        config.config_file = Some("/dev/null".into());
        config
    }

    pub fn host(&self) -> SshHost {
        SshHost::new("far", self.config())
    }

    /// The client processes that hold a connection to this sshd.
    pub fn clients(&self) -> Vec<u32> {
        let option = format!("^ssh .*UserKnownHostsFile={}", self.sshd.known_hosts);
        let found = Tool::new("pgrep").args(["-f", &option]).run().unwrap_or_default();
        found.lines().filter_map(|line| line.parse().ok()).filter(|pid| alive(*pid)).collect()
    }

    /// The same as a table of a pipeline file.
    pub fn table(&self, name: &str) -> String {
        format!(
            "[hosts.{name}]\nuse = \"ssh\"\naddress = \"root@127.0.0.1\"\nport = {}\nidentity_file = \"{}\"\n\
             known_hosts = \"{}\"\nconfig_file = \"/dev/null\"\n\n",
            self.sshd.port, self.sshd.identity_file, self.sshd.known_hosts
        )
    }
}

pub fn located(text: &str) -> Located<String> {
    Located::nowhere(text.to_owned())
}

/// Waits for a condition that something in another process makes true.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Whether the process is there and not just waiting to be reaped.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The program that stands for `reseed` on the far side.
pub fn wire_program() -> String {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples/wire");
    assert!(program.exists(), "build it first: cargo build -p reseed-transport-ssh --examples");
    program.to_str().unwrap().to_owned()
}
