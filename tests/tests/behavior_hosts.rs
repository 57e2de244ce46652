//! The contract of hosts, for every one that there is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use reseed_core::host::{Become, Command, Host, LocalConfig, LocalHost};
use reseed_core::testkit::{holds_as_a_host, reconnects};
use reseed_lab::{FarPath, Lab, Sshd, Tool, User, is_root};
use reseed_transport_ssh::{SshConfig, SshHost};

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    holds_as_a_host(&LocalHost::new("local", &LocalConfig::default())).await;
}

/// Whether these programs are here, and this is root.
fn can_run(programs: &[&str]) -> bool {
    let there = |program: &&str| Tool::new("which").arg(*program).env("PATH", "/usr/bin:/usr/sbin:/bin").run().is_ok();
    let able = is_root() && programs.iter().all(there);
    assert!(able || std::env::var_os("CI").is_none(), "root or one of {programs:?} is missing in CI");
    if !able {
        println!("skipped: needs root and {programs:?}");
    }
    able
}

/// The way to an sshd, for this user.
fn config(sshd: &Sshd, user: &str) -> SshConfig {
    let mut config = SshConfig::new(format!("{user}@127.0.0.1"));
    config.port = Some(sshd.port);
    config.identity_file = Some(sshd.identity_file.clone());
    config.known_hosts = Some(sshd.known_hosts.clone());
    config.config_file = Some("/dev/null".into());
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh() {
    if !can_run(&["sshd"]) {
        return;
    }
    let lab = Lab::new().unwrap();
    let sshd = Sshd::in_lab(&lab, &FarPath::Usual).unwrap();
    let host = SshHost::new("far", config(&sshd, "root"));
    assert!(!host.is_local());
    holds_as_a_host(&host).await;
    reconnects(&host, async || end_clients(&sshd)).await;
}

/// Lets the user become any other without a password, until the end of the lab; whether nobody else has a
/// say in that here.
fn may_become_anyone(lab: &Lab, user: &str, by: Become) -> bool {
    let (file, text) = match by {
        Become::Sudo => {
            (format!("/etc/sudoers.d/reseed-lab-{}", std::process::id()), format!("{user} ALL=(ALL) NOPASSWD: ALL\n"))
        }
        Become::Doas => ("/etc/doas.conf".to_owned(), format!("permit nopass {user}\n")),
    };
    if std::fs::exists(&file).unwrap() {
        println!("skipped: {file} is there");
        return false;
    }
    lab.guard().add(&format!("rm -f {file}")).unwrap();
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    true
}

/// What needs root, or another user, gets it by the program that the host's `become` names, also behind a
/// pipe; what needs neither does not go through it.
async fn raises(by: Become, program: &str) {
    if !can_run(&["sshd", program]) {
        return;
    }
    let (lab, user) = (Lab::new().unwrap(), User::named("postgres").unwrap());
    let sshd = Sshd::of_user(&lab, &user).unwrap();
    let id = |option: &str| Command::new("id").args(["-n", option]);
    let plain: &dyn Host = &SshHost::new("plain", config(&sshd, "postgres"));
    // Without it they are tried as they are: rights may be delegated.
    assert_eq!(plain.run(id("-u").as_root()).await.unwrap().trim(), "postgres");

    let raised = SshConfig { become_: Some(by), ..config(&sshd, "postgres") };
    let host: &dyn Host = &SshHost::new("far", raised);
    let refused = host.run(id("-u").as_root()).await.unwrap_err().chain();
    assert!(refused.contains(program), "{refused}");
    if !may_become_anyone(&lab, "postgres", by) {
        return;
    }
    for (command, whom) in
        [(id("-u"), "postgres"), (id("-u").as_root(), "root"), (id("-u").as_user("nobody"), "nobody")]
    {
        assert_eq!(host.run(command).await.unwrap().trim(), whom);
    }
    let parent = Command::new("sh").args(["-c", "ps -o comm= -p $PPID; ps -o comm= -p $(ps -o ppid= -p $PPID)"]);
    assert!(host.run(parent.clone().as_root()).await.unwrap().contains(program));
    assert!(!host.run(parent).await.unwrap().contains(program));
    let files = host.files();
    let path = lab.path("root's own");
    files.write(&path, b"words", 0o600).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().uid(), 0);
    assert_eq!(files.read_text(&path).await.unwrap().as_deref(), Some("words"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_and_sudo() {
    raises(Become::Sudo, "sudo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_and_doas() {
    raises(Become::Doas, "doas").await;
}

/// Ends the client processes that hold a connection to this sshd.
fn end_clients(sshd: &Sshd) {
    let option = format!("^ssh .*UserKnownHostsFile={}", sshd.known_hosts);
    let found = Tool::new("pgrep").args(["-f", &option]).run().unwrap_or_default();
    let ended = found.lines().filter(|pid| Tool::new("kill").args(["-KILL", pid]).run().is_ok());
    assert!(ended.count() > 0, "no client holds a connection");
}
