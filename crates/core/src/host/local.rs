//! The machine that the engine runs on. The one place that starts processes.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::task::JoinHandle;

use super::process::STDERR_KEPT;
use super::{Become, Exit, Host, Job, Process, ProcessHandle, StepExit};
use crate::{Error, Result};

/// Bytes asked for each pipe between commands; Linux gives 64 KiB by default.
const PIPE: usize = 1024 * 1024;
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
}

impl LocalHost {
    /// The local machine under `name`.
    pub fn new(name: impl Into<String>, config: &LocalConfig) -> Self {
        Self { name: name.into(), login: login(), become_: config.become_ }
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
        spawn_local(&self.name, argvs.collect())
    }
}

/// Starts argument vectors connected by pipes on this machine. Hosts that reach others by a local
/// client program (and a stranger's host) start it by this function.
///
/// # Errors
/// When a program is not there or can't be started.
pub fn spawn_local(host: &str, argvs: Vec<(String, Vec<String>)>) -> Result<Process> {
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
        steps.push(Step { shown, child, stderr: Some(stderr), exit: None });
    }
    Ok(Process {
        host: host.to_owned(),
        stdin: stdin.map(|pipe| Box::new(pipe) as _),
        stdout: between.map(|pipe| Box::new(pipe) as _),
        handle: Box::new(LocalJob { steps }),
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
fn start(host: &str, argv: &[String], input: Stdio) -> Result<Child> {
    let mut command = tokio::process::Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own: Ctrl-C reaches the engine only, which then ends things in order.
    command.process_group(0).kill_on_drop(true).env("LC_ALL", "C");
    command.current_dir("/").env("PATH", search_path());
    command.spawn().map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => format!("install `{}` on {host}, or put it in the PATH", argv[0]),
            _ => format!("see whether {host} may execute `{}`", argv[0]),
        };
        Error::failed(format!("can't start `{}` on {host}", argv[0])).because(error).hint(hint)
    })
}

/// The operator's PATH and the places where administration programs live.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
}

#[cfg(target_os = "linux")]
fn widen(pipe: &impl std::os::fd::AsFd) {
    // Best effort: the kernel may refuse beyond /proc/sys/fs/pipe-user-pages-soft.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
}

#[cfg(not(target_os = "linux"))]
fn widen(_pipe: &impl std::os::fd::AsFd) {}

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
    child: Child,
    stderr: Option<JoinHandle<String>>,
    exit: Option<StepExit>,
}

struct LocalJob {
    steps: Vec<Step>,
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
        for step in &mut self.steps {
            let _ = step.child.start_kill();
        }
    }
}

impl Step {
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
