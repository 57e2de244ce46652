//! What a process that was killed has still at work is awaited. This program is that process too, where it is
//! called for one.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Far, eventually};
use reseed_core::event::{Blind, Observer};
use reseed_core::host::{Bygone, Command, Host, LocalConfig, LocalHost, mark};
use reseed_core::journal::{Journals, StateDirectory, Written};
use reseed_lab::Lab;
use reseed_transport_ssh::{SshConfig, SshHost};
use tokio_util::sync::CancellationToken;

/// What tells this program that it is to be killed: the directory of its act, and the ssh_config of the machine
/// where that is, or nothing.
const CALL: &str = "RESEED_TEST_KILLED";

/// A short act: it begins, takes its time, and is done.
const ACT: &str = r#"touch "$1/begun"; while [ ! -e "$1/go" ]; do sleep 0.05; done; sleep 0.5; touch "$1/done""#;

/// A process that has begun the act and does not live to see its end.
struct Killed {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    mark: String,
}

impl Killed {
    /// One whose act is on the machine behind this port.
    fn start(far: &Far, port: u16) -> Self {
        let file = far.lab.path("ssh_config");
        let text = format!(
            "Host far\n HostName 127.0.0.1\n Port {port}\n User root\n IdentityFile \"{}\"\n \
             UserKnownHostsFile \"{}\"\n HostKeyAlias \"[127.0.0.1]:{}\"\n",
            far.sshd.identity_file, far.sshd.known_hosts, far.sshd.port
        );
        std::fs::write(&file, text).unwrap();
        Self::called(&format!("{}\n{file}", far.lab.path("")))
    }

    #[expect(clippy::disallowed_methods, reason = "what is killed needs a process of its own")]
    fn called(call: &str) -> Self {
        let mut program = Program::new(std::env::current_exe().unwrap());
        program.args(["--exact", "the_process_that_is_killed", "--nocapture"]).env(CALL, call);
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mark = Self::word(&mut said, "mark ");
        Self { child, said, mark }
    }

    fn word(said: &mut impl BufRead, word: &str) -> String {
        let mut lines = said.lines().map(Result::unwrap);
        lines.find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned())).unwrap()
    }

    /// Lets it go on.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Of one of [`start`](Self::start) or [`called`](Self::called), killed when its act has begun in this lab.
    async fn in_its_act(mut self, lab: &Lab) -> Self {
        self.go_on();
        eventually("the act", || Path::new(&lab.path("begun")).exists()).await;
        self.kill();
        self
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn bygone(&self, warned: &Arc<Mutex<Vec<String>>>) -> Bygone {
        let warned = Arc::clone(warned);
        Bygone::new(&self.mark, move |text| warned.lock().unwrap().push(text)).unwrap()
    }
}

/// Not a test, but what is killed in those that are.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(call) = std::env::var(CALL) else { return };
    let (directory, file) = call.split_once('\n').unwrap();
    let host: Box<dyn Host> = if file.is_empty() { here(directory) } else { far(file).await };
    println!("\nmark {}", mark());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let act = Command::script(ACT).arg(directory).to_its_end();
    let _act = host.spawn(&act.into()).await.unwrap();
    println!("\nspawned it");
    std::future::pending().await
}

/// The machine of this ssh_config, which has been connected to.
async fn far(file: &str) -> Box<dyn Host> {
    let mut config = SshConfig::new("far");
    config.config_file = Some(file.to_owned());
    let far: Box<dyn Host> = Box::new(SshHost::new("far", config));
    far.run(Command::new("true")).await.unwrap();
    far
}

/// This machine, and a run whose journal is in the directory until the process dies.
fn here(directory: &str) -> Box<dyn Host> {
    let (path, file, set) = ("t.toml".to_owned(), "name = \"t\"\n".to_owned(), BTreeMap::new());
    let written = Written { state: StateDirectory::at(format!("{directory}/state")), path, file, set };
    std::mem::forget(written.begin("r1", "t").unwrap());
    Box::new(LocalHost::new("local", &LocalConfig::default()))
}

#[tokio::test]
async fn a_short_act_of_a_killed_process_on_this_machine_is_awaited_by_recovery() {
    let lab = Lab::new().unwrap();
    Killed::called(&format!("{}\n", lab.path(""))).in_its_act(&lab).await;
    std::fs::write(lab.path("go"), "").unwrap();
    let observer: Arc<dyn Observer> = Arc::new(Blind);
    let state = StateDirectory::at(lab.path("state"));
    let swept = state.recover(|_| true, &observer, &CancellationToken::new()).await.unwrap();
    assert_eq!(swept.taken.len(), 1);
    assert!(Path::new(&lab.path("done")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_act_of_a_killed_process_is_awaited_by_the_first_command() {
    let Some(far) = Far::new() else { return };
    let killed = Killed::start(&far, far.sshd.port).in_its_act(&far.lab).await;
    let warned = Arc::default();
    let host = far.host();
    host.settle(&killed.bygone(&warned));
    assert_eq!(far.clients().len(), 0, "a host that is not needed is not connected to");
    std::fs::write(far.lab.path("go"), "").unwrap();
    (&host as &dyn Host).run(Command::new("ls").arg(far.lab.path("done"))).await.unwrap();
    assert_eq!(*warned.lock().unwrap(), Vec::<String>::new());
}

/// The request for the act is on the wire when its process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_act_that_was_asked_for_and_has_not_come_yet_is_awaited() {
    let Some(far) = Far::new() else { return };
    std::fs::write(far.lab.path("go"), "").unwrap();
    let wire = Wire::to(far.sshd.port);
    let mut killed = Killed::start(&far, wire.port);
    wire.holds.store(true, SeqCst);
    killed.go_on();
    Killed::word(&mut killed.said, "spawned ");
    eventually("the request", || wire.held() > 0).await;
    killed.kill();
    eventually("the end of the process's channel", || wire.held() > 1).await;
    let held = wire.held();
    let warned = Arc::default();
    let host = far.host();
    host.settle(&killed.bygone(&warned));
    let release = async {
        eventually("a question behind the request", || wire.held() > held).await;
        assert!(!Path::new(&far.lab.path("begun")).exists());
        wire.holds.store(false, SeqCst);
        std::future::pending().await
    };
    let ls = Command::new("ls").arg(far.lab.path("done"));
    tokio::select! {
        listed = (&host as &dyn Host).run(ls) => listed.unwrap(),
        never = release => never,
    };
    assert_eq!(*warned.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_goes_on_is_told_once_and_the_command_starts() {
    let Some(far) = Far::new() else { return };
    let killed = Killed::start(&far, far.sshd.port).in_its_act(&far.lab).await;
    let warned = Arc::default();
    let host = far.host();
    host.settle(&killed.bygone(&warned));
    let host: &dyn Host = &host;
    for _ in 0..2 {
        host.run(Command::new("true")).await.unwrap();
    }
    let warned = warned.lock().unwrap().clone();
    assert!(
        warned.len() == 1 && warned[0].starts_with("the run that died has still at work on far: `sh -c touch"),
        "{warned:?}"
    );
    std::fs::write(far.lab.path("go"), "").unwrap();
    eventually("the end of the act", || Path::new(&far.lab.path("done")).exists()).await;
}

/// A wire that can hold the next request for a command, and what goes behind it.
struct Wire {
    port: u16,
    holds: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
}

/// Bytes that a request for a command has at least; what opens and closes channels has less.
const REQUEST: usize = 400;

impl Wire {
    /// One to this port of a server, for the first that comes.
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (holds, held) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let wire = Self { port: listener.local_addr().unwrap().port(), holds: holds.clone(), held: held.clone() };
        std::thread::spawn(move || {
            let client = listener.accept().unwrap().0;
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            carry(client, server, &holds, &held);
        });
        wire
    }

    /// How many pieces are held.
    fn held(&self) -> usize {
        self.held.load(SeqCst)
    }
}

fn carry(mut client: TcpStream, mut server: TcpStream, holds: &AtomicBool, held: &AtomicUsize) {
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut waiting, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let read = client.read(&mut buffer);
        if let Ok(read) = read {
            waiting.extend_from_slice(&buffer[..read]);
            if holds.load(SeqCst) && (read >= REQUEST || held.load(SeqCst) > 0) {
                held.fetch_add(1, SeqCst);
            }
        }
        if held.load(SeqCst) == 0 || !holds.load(SeqCst) {
            server.write_all(&waiting).unwrap();
            waiting.clear();
        }
        if matches!(read, Ok(0)) {
            return;
        }
    }
}
