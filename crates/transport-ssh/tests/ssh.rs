//! The host over a real sshd.

mod common;

use std::sync::Arc;

use common::{Far, alive, eventually, located};
use reseed_core::config::Period;
use reseed_core::host::{Command, Host, Job, Process, drain, open};
use reseed_core::stream::{Chunks, collect};
use reseed_core::{Class, Error};
use reseed_lab::Tool;
use reseed_transport_ssh::SshHost;

#[tokio::test]
async fn every_argument_arrives_byte_for_byte() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let host: &dyn Host = &host;
    for arg in
        ["", " ", "it's", "$HOME `id` $(id) \"x\"", "two\nlines", "!! \\n \\0101", "=x", "*", "ü", "-n", "a;b|c&d"]
    {
        let text = host.run(Command::new("printf").args(["%s.", arg, "last"])).await.unwrap();
        assert_eq!(text, format!("{arg}.last."));
    }
}

#[tokio::test]
async fn the_environment_is_fixed_and_administration_programs_are_found() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let host: &dyn Host = &host;
    let text = host.run(Command::script(r#"echo "$LC_ALL $PATH""#)).await.unwrap();
    assert!(text.starts_with("C ") && text.contains(":/usr/sbin:"), "{text}");
    assert!(host.which("no-such-program").await.unwrap().is_none());
}

#[tokio::test]
async fn standard_input_and_every_exit_status_come_through() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let host: &dyn Host = &host;
    let bytes: Vec<u8> = (0..300_000u32).map(|at| ((at * 7) >> 2) as u8).collect();
    let job = Job::pipe(vec![Command::new("cat"), Command::script("cat; exit 3")]);
    let output = host.output_with(job, &bytes).await.unwrap();
    assert!(output.stdout == bytes);
    let statuses: Vec<_> = output.exit.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [Some(0), Some(3)]);
    let first = Job::pipe(vec![Command::script("echo why >&2; exit 5"), Command::new("cat")]);
    let error = collect(open(host, &first).await.unwrap(), 10).await.unwrap_err();
    assert!(error.chain().ends_with("on far exited 5: why"), "{}", error.chain());
}

#[tokio::test]
async fn a_program_that_is_not_there_and_a_killed_command_fail() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let host: &dyn Host = &host;
    let error = host.run(Command::new("no-such-program")).await.unwrap_err();
    assert!(error.chain().contains("exited 127"), "{}", error.chain());
    let error = host.run(Command::script("kill -9 $$")).await.unwrap_err();
    assert!(error.chain().contains("exited 137"), "{}", error.chain());
    let error = host.run(Command::script("kill -9 0")).await.unwrap_err();
    assert!(error.chain().contains("was ended by a signal"), "{}", error.chain());
}

#[tokio::test]
async fn commands_share_one_connection_and_a_killed_one_is_made_anew() {
    let Some(far) = Far::new() else { return };
    let ssh = far.host();
    let job = id();
    let (one, two, three, four) = tokio::join!(ssh.spawn(&job), ssh.spawn(&job), ssh.spawn(&job), ssh.spawn(&job));
    drop((one.unwrap(), two.unwrap(), three.unwrap(), four.unwrap()));
    let clients = far.clients();
    assert_eq!(clients.len(), 1, "{clients:?}");

    let mut running = ssh.spawn(&Command::new("cat").into()).await.unwrap();
    kill(clients[0]);
    let error = running.handle.wait().await.unwrap_err();
    assert!(error.chain().contains("the connection to far was lost while `cat` ran"), "{}", error.chain());
    let ssh: &dyn Host = &ssh;
    assert_eq!(ssh.run(id()).await.unwrap().trim(), "root");
}

#[tokio::test]
async fn a_connection_that_is_dropped_leaves_no_client_behind() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    host.spawn(&id()).await.unwrap();
    assert_eq!(far.clients().len(), 1);
    drop(host);
    eventually("the end of the client", || far.clients().is_empty()).await;
}

/// Starts a script whose first line of output is its process id.
async fn started(host: &SshHost, command: Command) -> (Process, u32) {
    let mut process = host.spawn(&command.into()).await.unwrap();
    let mut line = [0; 32];
    let read = tokio::io::AsyncReadExt::read(process.stdout.as_mut().unwrap(), &mut line).await.unwrap();
    let pid = String::from_utf8_lossy(&line[..read]).trim().parse().unwrap();
    assert!(alive(pid));
    (process, pid)
}

#[tokio::test]
async fn a_command_that_is_dropped_is_gone_before_the_next_one_starts() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    // One neither reads nor writes, one is told by no signal.
    for script in ["echo $$; exec sleep 600", "trap '' TERM; echo $$; while read -r line; do :; done"] {
        let (process, pid) = started(&host, Command::script(script)).await;
        drop(process);
        let host: &dyn Host = &host;
        host.run(id()).await.unwrap();
        assert!(!alive(pid), "{script}");
    }
}

#[tokio::test]
async fn a_command_that_lost_its_connection_is_gone_before_the_next_one_starts() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let (mut process, pid) = started(&host, Command::script("trap '' HUP; echo $$; exec sleep 600")).await;
    kill(far.clients()[0]);
    process.handle.wait().await.unwrap_err();
    drop(process);
    let host: &dyn Host = &host;
    host.run(id()).await.unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_short_act_is_left_to_finish_however_soon_it_is_dropped() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    for time in 0..5 {
        let done = far.lab.path(&format!("done {time}"));
        let act = Command::script(r#"sleep 0.3; echo done >"$1""#).arg(&done).to_its_end();
        drop(host.spawn(&act.into()).await.unwrap());
        let host: &dyn Host = &host;
        assert_eq!(host.run(Command::new("cat").arg(done)).await.unwrap(), "done\n");
    }
}

#[tokio::test]
async fn a_failing_stream_is_the_error_and_the_next_command_works() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let process = host.spawn(&Command::script("cat >/dev/null").into()).await.unwrap();
    let stream = Chunks::failing(vec!["abc".into()], Error::failed("the sender died"));
    let error = drain(Box::new(stream), process, &Arc::default()).await.unwrap_err();
    assert_eq!(error.chain(), "the sender died");
    let host: &dyn Host = &host;
    assert_eq!(host.run(id()).await.unwrap().trim(), "root");
}

#[tokio::test]
async fn files_are_written_and_read() {
    let Some(far) = Far::new() else { return };
    let host = far.host();
    let host: &dyn Host = &host;
    let path = far.lab.path("a file");
    assert_eq!(host.files().read(&path).await.unwrap(), None);
    let content: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    host.files().write(&path, &content, 0o600).await.unwrap();
    assert!(host.files().read(&path).await.unwrap().unwrap() == content);
    let local = reseed_core::host::LocalHost::new("local", &Default::default());
    let local: &dyn Host = &local;
    assert_eq!(host.machine().await.unwrap(), local.machine().await.unwrap());
}

#[tokio::test]
async fn a_host_whose_key_is_not_known_is_refused() {
    let Some(far) = Far::new() else { return };
    let mut config = far.config();
    let empty = far.lab.path("no hosts");
    std::fs::write(&empty, "").unwrap();
    config.known_hosts = Some(empty.clone());
    let error = SshHost::new("far", config).spawn(&id()).await.err().unwrap();
    assert_eq!(error.chain(), "can't connect to far: its host key is not known");
    assert_eq!(error.class(), Class::Failed);
    assert!(error.hint_text().unwrap().contains("ssh -F /dev/null -i "), "{:?}", error.hint_text());
    assert_eq!(std::fs::read_to_string(empty).unwrap(), "", "a key was added");
}

#[tokio::test]
async fn a_host_with_another_key_is_refused() {
    let (Some(far), Some(other)) = (Far::new(), Far::new()) else { return };
    let mut config = far.config();
    let known = std::fs::read_to_string(&other.sshd.known_hosts).unwrap();
    let swapped = far.lab.path("swapped");
    std::fs::write(&swapped, known.replace(&other.sshd.port.to_string(), &far.sshd.port.to_string())).unwrap();
    config.known_hosts = Some(swapped);
    let error = SshHost::new("far", config).spawn(&id()).await.err().unwrap();
    assert_eq!(error.chain(), "can't connect to far: its host key is not the one that is known");
}

#[tokio::test]
async fn a_refused_key_a_refused_port_and_an_unknown_name_say_so() {
    let Some(far) = Far::new() else { return };
    let mut stranger = far.config();
    let key = far.lab.path("stranger");
    Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).run().unwrap();
    stranger.identity_file = Some(key);
    let mut nobody = far.config();
    nobody.port = Some(reseed_lab::free_port().unwrap());
    let mut nameless = far.config();
    nameless.address = located("root@no-such-host.invalid");
    for (config, text) in [(stranger, "it let none of the keys in"), (nobody, "refused"), (nameless, "no address")] {
        let error = SshHost::new("far", config).spawn(&id()).await.err().unwrap();
        assert!(error.chain().contains(text), "{}", error.chain());
        assert!(error.hint_text().unwrap().contains("ssh "), "{:?}", error.hint_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_never_answers_is_not_waited_for_by_every_question() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = reseed_transport_ssh::SshConfig::new("root@127.0.0.1");
    config.port = Some(silent.local_addr().unwrap().port());
    config.connect_timeout = Period::seconds(2);
    let host = SshHost::new("far", config);
    let first = host.spawn(&id()).await.err().unwrap().chain();
    for _ in 0..3 {
        assert_eq!(host.spawn(&id()).await.err().unwrap().chain(), first);
    }
    assert!(first.contains("did not answer"), "{first}");
    silent.set_nonblocking(true).unwrap();
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked, 1, "{first}");
}

#[tokio::test]
async fn a_jump_host_is_gone_through() {
    let (Some(far), Some(gate)) = (Far::new(), Far::new()) else { return };
    let file = far.lab.path("ssh_config");
    let text = format!(
        "Host gate\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile \"{}\"\n UserKnownHostsFile \"{}\"\n",
        gate.sshd.port, gate.sshd.identity_file, gate.sshd.known_hosts
    );
    let alias = format!(
        "Host far\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile \"{}\"\n UserKnownHostsFile \"{}\"\n",
        far.sshd.port, far.sshd.identity_file, far.sshd.known_hosts
    );
    std::fs::write(&file, text + &alias).unwrap();
    let mut config = reseed_transport_ssh::SshConfig::new("far");
    config.config_file = Some(file);
    config.jump = vec![located("gate")];
    let host = SshHost::new("far", config);
    let host: &dyn Host = &host;
    let text = host.run(Command::script(r#"echo "$SSH_CONNECTION""#)).await.unwrap();
    assert!(text.contains(&far.sshd.port.to_string()), "{text}");
}

fn id() -> Job {
    Command::new("id").arg("-un").into()
}

fn kill(pid: u32) {
    Tool::new("kill").args(["-9", &pid.to_string()]).run().unwrap();
}
