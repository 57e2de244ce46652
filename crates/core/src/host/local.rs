//! The machine that the engine runs on. The one place that starts processes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::task::JoinHandle;

use super::mark::{VARIABLE, mark};
use super::process::STDERR_KEPT;
use super::{Become, Departing, Exit, Host, Inlet, Job, OnDrop, Outlet, Process, ProcessHandle, StepExit, widen};
use crate::{Error, Result};

/// How long standard error is read on after a command has exited.
const LINGER: Duration = Duration::from_millis(500);

/// The machine that reseed itself runs on.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LocalConfig {
    /// How commands that need root, or another user, get it: `sudo` or `doas`.
    #[serde(default, rename = "become")]
    pub become_: Option<Become>,
}

/// The local machine as a [`Host`].
#[derive(Debug)]
pub struct LocalHost {
    name: String,
    login: String,
    become_: Option<Become>,
    departing: Arc<Departing>,
}

impl LocalHost {
    /// The local machine under `name`.
    pub fn new(name: impl Into<String>, config: &LocalConfig) -> Self {
        Self { name: name.into(), login: login(), become_: config.become_, departing: Arc::default() }
    }
}

fn login() -> String {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return "root".into();
    }
    let line = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let field = |line: &str, at: usize| line.split(':').nth(at).map(str::to_owned);
    let mine = line.lines().find(|line| field(line, 2).as_deref() == Some(&uid.as_raw().to_string()));
    mine.and_then(|line| field(line, 0))
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| uid.as_raw().to_string())
}

#[async_trait]
impl Host for LocalHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn spawn(&self, job: &Job) -> Result<Process> {
        let argvs = job.steps().iter().map(|step| (step.to_string(), step.argv(&self.login, self.become_)));
        let argvs = argvs.collect();
        self.departing.gone().await?;
        spawn_local(&self.name, argvs, job.on_drop(), &self.departing)
    }
}

/// Starts argument vectors connected by pipes on this machine. Hosts that reach others by a local
/// client program (and a stranger's host) start it by this function. A job that is dropped before
/// its end is added to `departing`.
///
/// # Errors
/// When a program is not there or can't be started.
pub fn spawn_local(
    host: &str,
    argvs: Vec<(String, Vec<String>)>,
    on_drop: OnDrop,
    departing: &Arc<Departing>,
) -> Result<Process> {
    let mut stdin = None;
    let mut between: Option<ChildStdout> = None;
    let mut steps = Vec::new();
    for (shown, argv) in argvs {
        let input = match between.take() {
            Some(pipe) => pipe.into_owned_fd()?.into(),
            None => Stdio::piped(),
        };
        let mut child = start(host, &argv, input)?;
        if let Some(pipe) = child.stdin.take() {
            widen(&pipe);
            stdin = Some(pipe);
        }
        between = child.stdout.take().inspect(widen);
        let stderr = tokio::spawn(tail(child.stderr.take()));
        steps.push(Step { shown, raiser: raiser(&argv), child, stderr: Some(stderr), exit: None });
    }
    let handle = Box::new(LocalJob { steps, on_drop, departing: Arc::clone(departing) });
    let stdin = stdin.map(|pipe| pipe.into_owned_fd().and_then(pipe::Sender::from_owned_fd)).transpose()?;
    let stdout = between.map(|pipe| pipe.into_owned_fd().and_then(pipe::Receiver::from_owned_fd)).transpose()?;
    Ok(Process {
        host: host.to_owned(),
        handle,
        stdin: stdin.map(|pipe| Box::new(pipe) as Box<dyn Inlet>),
        stdout: stdout.map(|pipe| Box::new(pipe) as Box<dyn Outlet>),
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
fn start(host: &str, argv: &[String], input: Stdio) -> Result<Child> {
    let mut command = tokio::process::Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own: Ctrl-C reaches the engine only, which then ends things in order.
    command.process_group(0).kill_on_drop(true).env("LC_ALL", "C");
    command.current_dir("/").env("PATH", search_path()).env(VARIABLE, mark());
    command.spawn().map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => format!("install `{}` on {host}, or put it in the PATH", argv[0]),
            _ => format!("see whether {host} may execute `{}`", argv[0]),
        };
        Error::failed(format!("can't start `{}` on {host}", argv[0])).because(error).hint(hint)
    })
}

/// The program in front of a command that runs as another user.
fn raiser(argv: &[String]) -> Option<&'static str> {
    ["sudo", "doas"].into_iter().find(|raiser| argv[0] == *raiser)
}

/// The operator's PATH and the places where administration programs live.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
}

/// Reads to the end and keeps the last [`STDERR_KEPT`] bytes.
async fn tail(pipe: Option<ChildStderr>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

struct Step {
    shown: String,
    /// What ran the command as another user.
    raiser: Option<&'static str>,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    exit: Option<StepExit>,
}

struct LocalJob {
    steps: Vec<Step>,
    on_drop: OnDrop,
    departing: Arc<Departing>,
}

#[async_trait]
impl ProcessHandle for LocalJob {
    async fn wait(&mut self) -> Result<Exit> {
        let mut exit = Exit::default();
        for step in &mut self.steps {
            exit.steps.push(step.wait().await?);
        }
        Ok(exit)
    }

    fn kill(&mut self) {
        self.steps.iter_mut().for_each(Step::kill);
    }
}

impl Drop for LocalJob {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::End {
            self.kill();
        }
        let steps = std::mem::take(&mut self.steps);
        let running: Vec<_> = steps.into_iter().filter(|step| step.exit.is_none()).collect();
        if !running.is_empty() {
            self.departing.add(gone(running));
        }
    }
}

/// Waits for the end of commands whose job was dropped.
async fn gone(steps: Vec<Step>) -> Result<()> {
    for mut step in steps {
        step.child.wait().await?;
    }
    Ok(())
}

impl Step {
    /// Ends the command and what it started: a wrapper such as `sudo` or `sh` has children of its own.
    /// A server that a command left behind is not among them: it made a session of its own.
    fn kill(&mut self) {
        if self.exit.is_some() {
            return;
        }
        let group = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            self.kill_as_root(group);
        }
        let _ = self.child.start_kill();
    }

    /// What runs as root can't be ended by an operator who is not; what made it root can do it.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    fn kill_as_root(&self, group: rustix::process::Pid) {
        let Some(raiser) = self.raiser.filter(|_| !rustix::process::geteuid().is_root()) else { return };
        let mut kill = tokio::process::Command::new(raiser);
        kill.args(["-n", "kill", "-KILL", "--", &format!("-{}", group.as_raw_nonzero())]);
        kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("PATH", search_path());
        // Not awaited: the tokio runtime reaps it. Where it is not allowed, the command ends by itself
        // when it next reads or writes.
        let _ = kill.spawn();
    }

    async fn wait(&mut self) -> Result<StepExit> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let status = self.child.wait().await?;
        let stderr = match self.stderr.as_mut() {
            // A daemon that the command left behind may hold standard error open for ever.
            Some(task) => tokio::time::timeout(LINGER, task).await.ok().and_then(Result::ok).unwrap_or_default(),
            None => String::new(),
        };
        let exit = StepExit { command: self.shown.clone(), status: status.code(), stderr };
        self.exit = Some(exit.clone());
        Ok(exit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::{Command, drain, open};
    use crate::stream::{Chunks, collect};

    fn host() -> LocalHost {
        LocalHost::new("local", &LocalConfig::default())
    }

    #[tokio::test]
    async fn every_exit_status_of_a_pipe_counts() {
        let failing = Job::pipe(vec![Command::script("echo data; exit 3"), Command::new("cat")]);
        let error = collect(open(&host(), &failing).await.unwrap(), 100).await.unwrap_err();
        assert!(error.chain().contains("exited 3"), "{}", error.chain());
    }

    #[tokio::test]
    async fn the_cause_is_the_command_that_failed_by_itself_and_not_the_one_that_lost_its_reader() {
        let job = Job::pipe(vec![Command::new("yes"), Command::script("echo 'disk is full' >&2; exit 1")]);
        let error = collect(open(&host(), &job).await.unwrap(), 100).await.unwrap_err();
        assert!(error.chain().contains("disk is full"), "{}", error.chain());
    }

    #[tokio::test]
    async fn a_failing_stream_never_ends_the_receivers_input_cleanly() {
        let marker = std::env::temp_dir().join(format!("reseed-clean-end-{}", std::process::id()));
        let receive = Command::script(r#"cat >/dev/null && touch "$1""#).arg(marker.to_str().unwrap());
        let process = host().spawn(&receive.into()).await.unwrap();
        let stream = Chunks::failing(vec!["abc".into()], Error::failed("the sender died"));
        let error = drain(Box::new(stream), process, &Arc::default()).await.unwrap_err();
        assert_eq!(error.chain(), "the sender died");
        assert!(!marker.exists());
    }

    #[tokio::test]
    async fn the_receivers_own_error_is_told_when_it_stops_reading() {
        let receive = Command::script("echo 'no space left' >&2; exit 1");
        let process = host().spawn(&receive.into()).await.unwrap();
        let stream = Box::new(Chunks::new(vec![vec![0; 4 << 20].into(); 4]));
        let error = drain(stream, process, &Arc::default()).await.unwrap_err();
        assert!(error.chain().contains("no space left"), "{}", error.chain());
    }

    #[tokio::test]
    async fn dropping_a_job_ends_what_its_commands_started() {
        let mut process = host().spawn(&Command::script("sleep 600 & echo $!; wait").into()).await.unwrap();
        let mut line = [0; 16];
        let read = process.stdout.as_mut().unwrap().read(&mut line).await.unwrap();
        let child: i32 = String::from_utf8_lossy(&line[..read]).trim().parse().unwrap();
        drop(process);
        let child = rustix::process::Pid::from_raw(child).unwrap();
        eventually(|| rustix::process::test_kill_process(child).is_err()).await;
    }

    #[tokio::test]
    async fn the_next_command_starts_when_a_dropped_one_is_gone_and_a_short_act_is_left_to_finish() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let (begun, done) = (path("begun"), path("done"));
        let host = host();
        let act = Command::script(r#"touch "$1"; sleep 0.3; touch "$2""#).args([&begun, &done]);
        let process = host.spawn(&act.to_its_end().into()).await.unwrap();
        eventually(|| std::fs::exists(&begun).unwrap()).await;
        drop(process);
        let host: &dyn Host = &host;
        host.run(Command::new("ls").arg(done)).await.unwrap();
    }

    async fn eventually(done: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !done() && std::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert!(done());
    }
}
