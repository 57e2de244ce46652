//! The contract of hosts, for every one that there is.

use reseed_core::host::{Host, LocalConfig, LocalHost};
use reseed_core::testkit::{holds_as_a_host, reconnects};
use reseed_lab::{FarPath, Lab, Sshd, Tool, is_root};
use reseed_transport_ssh::{SshConfig, SshHost};

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    holds_as_a_host(&LocalHost::new("local", &LocalConfig::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh() {
    if !is_root() || !std::path::Path::new("/usr/sbin/sshd").exists() {
        assert!(std::env::var_os("CI").is_none(), "sshd and root are missing in CI");
        println!("skipped: needs root and openssh-server");
        return;
    }
    let lab = Lab::new().unwrap();
    let sshd = Sshd::in_lab(&lab, &FarPath::Usual).unwrap();
    let mut config = SshConfig::new("root@127.0.0.1");
    config.port = Some(sshd.port);
    config.identity_file = Some(sshd.identity_file.clone());
    config.known_hosts = Some(sshd.known_hosts.clone());
    config.config_file = Some("/dev/null".into());
    let host = SshHost::new("far", config);
    assert!(!host.is_local());
    holds_as_a_host(&host).await;
    reconnects(&host, async || end_clients(&sshd)).await;
}

/// Ends the client processes that hold a connection to this sshd.
fn end_clients(sshd: &Sshd) {
    let option = format!("^ssh .*UserKnownHostsFile={}", sshd.known_hosts);
    let found = Tool::new("pgrep").args(["-f", &option]).run().unwrap_or_default();
    let ended = found.lines().filter(|pid| Tool::new("kill").args(["-KILL", pid]).run().is_ok());
    assert!(ended.count() > 0, "no client holds a connection");
}
