//! The contract of transports: the SSH transfer in every form that it has, in every direction.

use std::path::Path;
use std::sync::Arc;

use reseed_core::host::{Host, LocalConfig, LocalHost};
use reseed_core::stage::Stage;
use reseed_core::testkit::{TransportContract, stages};
use reseed_lab::{FarPath, Lab, Sshd, Tool, is_root};
use reseed_tests::binary;
use reseed_transport_ssh::{SshConfig, SshHost};

/// An sshd, and a directory on each side.
struct Wire {
    lab: Lab,
    sshd: Sshd,
}

/// Which end is far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Pull,
    Push,
    Third,
}

impl Wire {
    fn new() -> Option<Self> {
        let able = is_root() && Path::new("/usr/sbin/sshd").exists();
        assert!(able || std::env::var_os("CI").is_none(), "root or sshd is missing in CI");
        if !able {
            println!("skipped: needs root and openssh-server");
            return None;
        }
        let lab = Lab::new().unwrap();
        let sshd = Sshd::in_lab(&lab, &FarPath::Usual).unwrap();
        Some(Self { lab, sshd })
    }

    fn far(&self, name: &str) -> Arc<dyn Host> {
        let mut config = SshConfig::new("root@127.0.0.1");
        config.port = Some(self.sshd.port);
        config.identity_file = Some(self.sshd.identity_file.clone());
        config.known_hosts = Some(self.sshd.known_hosts.clone());
        config.config_file = Some("/dev/null".into());
        Arc::new(SshHost::new(name, config))
    }

    fn contract(&self, way: Way, stages: Vec<Arc<dyn Stage>>) -> TransportContract {
        let local = || Arc::new(LocalHost::new("local", &LocalConfig::default())) as Arc<dyn Host>;
        let from = if way == Way::Push { local() } else { self.far("a") };
        let to = if way == Way::Pull { local() } else { self.far("b") };
        let directory = |name: &str| {
            let path = self.lab.path(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        TransportContract::new(stages, (from, &directory("from")), (to, &directory("to")))
    }
}

/// The transfer in one form, with or without a `zstd` in front of it.
fn transfer(wire: &str, zstd: bool) -> Vec<Arc<dyn Stage>> {
    let zstd = if zstd { "[[stage]]\nuse = \"zstd\"\n" } else { "" };
    let reseed = binary();
    stages(&format!(
        "{zstd}[[stage]]\nuse = \"ssh-transfer\"\nwire = \"{wire}\"\nreseed_path = \"{}\"\n",
        reseed.display()
    ))
}

/// Ends the client processes that hold a connection to this sshd.
fn cut(known_hosts: &str) {
    let option = format!("^ssh .*UserKnownHostsFile={known_hosts}");
    let found = Tool::new("pgrep").args(["-f", &option]).run().unwrap_or_default();
    let ended = found.lines().filter(|pid| Tool::new("kill").args(["-KILL", pid]).run().is_ok());
    assert!(ended.count() > 0, "no client holds a connection");
}

async fn holds(way: Way, wire: &str, zstd: bool) {
    let Some(ssh) = Wire::new() else { return };
    let known_hosts = ssh.sshd.known_hosts.clone();
    ssh.contract(way, transfer(wire, zstd)).cut_by(move || cut(&known_hosts)).holds().await;
}

macro_rules! forms {
    ($($name:ident: $way:expr, $wire:expr, $zstd:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            holds($way, $wire, $zstd).await;
        }
    )*};
}

forms! {
    plain_pulled: Way::Pull, "plain", false;
    plain_pushed: Way::Push, "plain", false;
    plain_between_others: Way::Third, "plain", false;
    zstd_pulled: Way::Pull, "zstd", true;
    zstd_pushed: Way::Push, "zstd", true;
    framed_pulled: Way::Pull, "framed", true;
    framed_pushed: Way::Push, "framed", true;
    framed_between_others: Way::Third, "framed", false;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_one_machine() {
    let lab = Lab::new().unwrap();
    let local = || Arc::new(LocalHost::new("local", &LocalConfig::default())) as Arc<dyn Host>;
    let directory = lab.directory().to_string_lossy().into_owned();
    TransportContract::new(transfer("auto", true), (local(), &directory), (local(), &directory)).holds().await;
}
