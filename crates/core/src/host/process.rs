//! Running processes: their streams, their ends, and what they said.

use std::fmt;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Host, Inlet, Job, Outlet};
#[cfg(target_os = "linux")]
use crate::stream::Tap;
use crate::stream::{BoxStream, ByteStream};
use crate::{Error, Result};

/// Bytes that one read asks for.
pub(super) const READ: usize = 256 * 1024;
/// Bytes of standard error that are kept of each command.
pub(crate) const STDERR_KEPT: usize = 16 * 1024;

/// How one command of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepExit {
    /// The command as a person would type it.
    pub command: String,
    /// The exit status, `None` when a signal ended it or the status never arrived.
    pub status: Option<i32>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// One entry for each command, in order.
    pub steps: Vec<StepExit>,
}

impl Exit {
    /// Whether every command exited 0.
    pub fn success(&self) -> bool {
        self.steps.iter().all(|step| step.status == Some(0))
    }

    /// The exit status of the last command.
    pub fn code(&self) -> Option<i32> {
        self.steps.last().and_then(|step| step.status)
    }

    /// What all commands wrote to standard error.
    pub fn stderr(&self) -> String {
        let said: Vec<_> = self.steps.iter().map(|step| step.stderr.trim()).collect();
        said.join("\n").trim().to_owned()
    }

    /// An error unless every command exited 0; it names the command that is the cause.
    ///
    /// # Errors
    /// With the command, its exit status and what it said.
    pub fn success_on(&self, host: &str) -> Result<()> {
        match self.culprit() {
            None => Ok(()),
            Some(step) => {
                let error = Error::failed(format!("`{}` on {host} {step}", step.command));
                Err(if step.became_nobody() { error.hint(NO_PASSWORD) } else { error })
            }
        }
    }

    /// The command that failed first for a reason of its own: one that only lost its reader
    /// (SIGPIPE) is blamed last.
    fn culprit(&self) -> Option<&StepExit> {
        let failed = || self.steps.iter().filter(|step| step.status != Some(0));
        failed().find(|step| !step.lost_its_reader()).or_else(|| failed().next())
    }
}

/// What helps where `become` is not allowed to.
const NO_PASSWORD: &str = "let the login user run commands as root without a password: `USER ALL = (root) NOPASSWD: ALL` \
                           in sudoers, `permit nopass USER` in doas.conf";

impl StepExit {
    /// Whether `sudo` or `doas` would not run the command.
    fn became_nobody(&self) -> bool {
        let refuses = |line: &str| {
            line.starts_with("sudo: ")
                && (line.contains("password is required") || line.contains("terminal is required"))
                || line.starts_with("doas: ") && (line.contains("Authorization") || line.contains("not permitted"))
        };
        self.stderr.lines().any(refuses)
    }

    fn lost_its_reader(&self) -> bool {
        let said = self.stderr.trim();
        self.status == Some(128 + 13)
            || (self.status.is_none() && said.is_empty())
            || said.to_lowercase().ends_with("broken pipe")
    }
}

impl fmt::Display for StepExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "exited {status}")?,
            None => f.write_str("was ended by a signal")?,
        }
        match self.stderr.trim() {
            "" => Ok(()),
            said => write!(f, ": {said}"),
        }
    }
}

/// The end that a [`Host`] holds of a running job.
#[async_trait]
pub trait ProcessHandle: Send {
    /// Waits for every command of the job. May be called again and then answers the same.
    async fn wait(&mut self) -> Result<Exit>;
    /// Ends the job at once; does not wait for it.
    fn kill(&mut self);
}

/// A running job. To drop it is to end it.
pub struct Process {
    /// Name of the host it runs on.
    pub host: String,
    /// Its end. It stands before the pipes, so that a dropped job is ended before its input ends.
    pub handle: Box<dyn ProcessHandle>,
    /// The job's standard input, until it is taken or closed.
    pub stdin: Option<Box<dyn Inlet>>,
    /// The job's standard output, until it is taken.
    pub stdout: Option<Box<dyn Outlet>>,
}

/// What a job printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// How it ended, with standard error.
    pub exit: Exit,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

pub(super) async fn output(mut process: Process, input: &[u8]) -> Result<Output> {
    let mut stdin = process.stdin.take();
    let mut stdout = process.stdout.take();
    let mut bytes = Vec::new();
    let feed = async {
        if let Some(mut pipe) = stdin.take() {
            // A program may well end without reading its input.
            let _ = pipe.write_all(input).await;
            let _ = pipe.shutdown().await;
        }
    };
    let read = async {
        match stdout.as_mut() {
            Some(pipe) => pipe.read_to_end(&mut bytes).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let ((), read) = tokio::join!(feed, read);
    read?;
    let exit = process.handle.wait().await?;
    Ok(Output { stdout: bytes, exit })
}

/// Starts a job on a host and gives its standard output as a stream, whose clean end means that
/// every command exited 0.
///
/// # Errors
/// When the job can't be started.
pub async fn open(host: &dyn Host, job: &Job) -> Result<BoxStream> {
    open_with(host, job, b"").await
}

/// As [`open`], for a job that is first told something on its standard input, for example a secret,
/// which must not be among its arguments. `input` must fit into a pipe: it is written before anything
/// is read.
///
/// # Errors
/// When the job can't be started.
pub async fn open_with(host: &dyn Host, job: &Job, input: &[u8]) -> Result<BoxStream> {
    let mut process = host.start(job).await?;
    if let Some(mut stdin) = process.stdin.take() {
        // A job that ended early tells why by its exit.
        let _ = stdin.write_all(input).await;
        let _ = stdin.shutdown().await;
    }
    let stdout = process.stdout.take();
    Ok(Box::new(ProcessStream { process, stdout, buffer: BytesMut::new() }))
}

struct ProcessStream {
    process: Process,
    stdout: Option<Box<dyn Outlet>>,
    buffer: BytesMut,
}

impl ProcessStream {
    fn unreadable(&self, error: std::io::Error) -> Error {
        Error::failed(format!("reading from {}", self.process.host)).because(error)
    }

    /// Every byte was read: the clean end, if every command says so.
    async fn ended(&mut self) -> Result<()> {
        self.stdout = None;
        self.process.handle.wait().await?.success_on(&self.process.host)
    }
}

#[async_trait]
impl ByteStream for ProcessStream {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(stdout) = self.stdout.as_mut() {
            if !self.buffer.try_reclaim(READ) {
                self.buffer = BytesMut::with_capacity(READ);
            }
            let read = stdout.read_buf(&mut self.buffer).await;
            if read.map_err(|e| self.unreadable(e))? > 0 {
                return Ok(Some(self.buffer.split().freeze()));
            }
        }
        self.ended().await.map(|()| None)
    }

    #[cfg(target_os = "linux")]
    async fn tap(&mut self) -> Result<Option<Tap>> {
        use std::os::fd::AsFd;
        let Some(pipe) = self.stdout.as_ref().and_then(|stdout| stdout.as_pipe()) else { return Ok(None) };
        Ok(Some(Tap { pipe: pipe.as_fd().try_clone_to_owned()?, meters: vec![] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_no_other_user_is_granted_is_told_what_to_grant() {
        let hint = |stderr: &str| {
            let step = StepExit { command: "mount".into(), status: Some(1), stderr: stderr.to_owned() };
            let error = Exit { steps: vec![step] }.success_on("far").unwrap_err();
            error.hint_text().map(str::to_owned)
        };
        for said in [
            "sudo: a password is required\n",
            "sudo: a terminal is required to read the password; either use the -S option\nsudo: a password is required\n",
            "doas: Authorization required\n",
            "doas: Operation not permitted\n",
        ] {
            assert!(hint(said).unwrap().contains("NOPASSWD"), "{said}");
        }
        assert_eq!(hint("mount: sudo: a password is required to mount\n"), None);
    }
}
