//! Machines: every command of every stage runs through a [`Host`].

pub(crate) mod at_work;
mod bygone;
mod command;
mod departing;
mod drain;
pub(crate) mod files;
mod heard;
mod linked;
mod local;
mod mark;
mod pipe;
mod process;
#[cfg(target_os = "linux")]
mod pump;
pub(crate) mod stat;
mod through;

use std::fmt::Debug;

use async_trait::async_trait;

pub use bygone::Bygone;
pub use command::{Become, Command, Job, shell_quote, split_job};
pub use departing::{Departing, OnDrop};
pub use drain::drain;
pub use files::{FileAttributes, Files};
pub(crate) use linked::LINKED;
pub use linked::{linked, linked_then};
pub use local::{LocalConfig, LocalHost, spawn_local};
pub use mark::mark;
pub use pipe::{Inlet, Outlet, widen};
pub use process::{Exit, Output, Process, ProcessHandle, StepExit, open, open_with};
pub use stat::began;
pub use through::through;

use crate::{Error, Result};

/// Tells where the program `$1` is.
pub(crate) const WHICH: &str = r#"PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin"; command -v -- "$1""#;

/// Tells which machine it is.
pub(crate) const MACHINE: &str = "cat /etc/machine-id /proc/sys/kernel/random/boot_id 2>/dev/null; \
                                  sysctl -n kern.hostuuid 2>/dev/null; uname -n";

/// A machine on which commands run.
///
/// The contract:
/// - Arguments reach the program byte for byte. A host that has to go through a remote shell quotes
///   each argument; data is never spliced into a shell's script.
/// - A job's commands are connected by pipes on the machine itself, and every exit status of the
///   job is reported, not just the last one.
/// - A process whose handle is dropped is ended, or left to finish where its commands say so
///   ([`Command::to_its_end`]); the next command on the host starts only when it is gone. On another
///   machine it may see its input end first: what must not take a cut stream for a whole one needs
///   an end of its own in the stream.
/// - A connection that broke is made anew by the next call, so that an undo can reach the machine.
#[async_trait]
pub trait Host: Debug + Send + Sync {
    /// The host's name in the pipeline file.
    fn name(&self) -> &str;

    /// Whether this is the machine that the engine runs on, reached without a wire.
    fn is_local(&self) -> bool;

    /// Where it is reached, as far as that is known without asking: the same for two hosts that are one
    /// machine by what the pipeline file says of them.
    fn address(&self) -> String {
        match self.is_local() {
            true => "local".to_owned(),
            false => self.name().to_owned(),
        }
    }

    /// Makes what the first command needs, where that takes time, such as a connection. Called ahead,
    /// while others are still asked. What goes wrong is not told here: the first command meets it too.
    async fn make_ready(&self) {}

    /// Makes the next command start only when whatever this process, which is gone, has still at work here
    /// has ended, or was awaited for about half a minute. What this process has started on the machine that
    /// the engine runs on is awaited by whoever takes its run to its end.
    fn settle(&self, _bygone: &Bygone) {}

    /// Starts a job.
    ///
    /// # Errors
    /// When the machine can't be reached or the first program is not there.
    async fn spawn(&self, job: &Job) -> Result<Process>;
}

impl dyn Host + '_ {
    /// Starts a job, and tells those who listen to its commands what they said.
    ///
    /// # Errors
    /// As [`spawn`](Host::spawn).
    pub async fn start(&self, job: &Job) -> Result<Process> {
        Ok(heard::heard(self.spawn(job).await?, job))
    }

    /// Runs a job to its end with `input` on its standard input and gives what it printed.
    ///
    /// # Errors
    /// When the job can't be started; a non-zero exit is in the output, not an error.
    pub async fn output_with(&self, job: impl Into<Job>, input: &[u8]) -> Result<Output> {
        let job = job.into();
        process::output(self.start(&job).await?, input).await
    }

    /// Runs a job to its end and gives what it printed.
    ///
    /// # Errors
    /// When the job can't be started; a non-zero exit is in the output, not an error.
    pub async fn output(&self, job: impl Into<Job>) -> Result<Output> {
        self.output_with(job, b"").await
    }

    /// Runs a job to its end and gives its standard output as text.
    ///
    /// # Errors
    /// When it can't be started or exits other than 0; the error carries what it said.
    pub async fn run(&self, job: impl Into<Job>) -> Result<String> {
        let job = job.into();
        let output = self.output(job).await?;
        output.exit.success_on(self.name())?;
        Ok(output.text())
    }

    /// Files on this machine.
    pub fn files(&self) -> Files<'_> {
        Files::new(self)
    }

    /// The path of a program on this machine, if it is there.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub async fn which(&self, program: &str) -> Result<Option<String>> {
        let output = self.output(Command::script(WHICH).titled("which").arg(program)).await?;
        Ok(output.exit.success().then(|| output.text().trim().to_owned()))
    }

    /// A string that is the same for two names of one machine and differs between machines.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub async fn machine(&self) -> Result<String> {
        let text = self.run(Command::script(MACHINE).titled("machine-id")).await?;
        match text.split_whitespace().collect::<Vec<_>>().join(":") {
            empty if empty.is_empty() => Err(Error::failed("the machine tells no name of its own")),
            id => Ok(id),
        }
    }
}
