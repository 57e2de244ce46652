//! A job that runs on the other machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use openssh::{Child, ChildStderr};
use reseed_core::host::{Exit, Inlet, Job, Outlet, Process, ProcessHandle, StepExit, widen};
use reseed_core::{Error, Result};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::far::{Departs, Far};
use super::leaving::Leaving;
use super::link::Link;
use super::marker::{Nonce, Said};

/// How long standard error is read on after every command has exited.
const LINGER: Duration = Duration::from_millis(500);

/// Makes a process of what was started.
pub(super) fn take(
    far: &Arc<Far>,
    job: &Job,
    departs: Departs,
    nonce: Nonce,
    mut child: Child<Link>,
) -> Result<Process> {
    let stdin = child.stdin().take().map(|pipe| pipe.into_owned_fd()).transpose();
    let stdout = child.stdout().take().map(|pipe| pipe.into_owned_fd()).transpose();
    let stdin = stdin?.map(pipe::Sender::from_owned_fd).transpose()?;
    let stdout = stdout?.map(pipe::Receiver::from_owned_fd).transpose()?;
    let said = Said::new(&nonce, job.steps().len());
    let (tell, begun) = oneshot::channel();
    let listening = Some(tokio::spawn(listen(child.stderr().take(), said, tell)));
    let commands = job.steps().iter().map(ToString::to_string).collect();
    let running = Running {
        far: Arc::clone(far),
        commands,
        departs,
        nonce,
        child: Some(child),
        begun: Some(begun),
        listening,
        departed: None,
        exit: None,
    };
    Ok(Process {
        host: far.name.clone(),
        handle: Box::new(running),
        stdin: stdin.inspect(widen).map(|pipe| Box::new(pipe) as Box<dyn Inlet>),
        stdout: stdout.inspect(widen).map(|pipe| Box::new(pipe) as Box<dyn Outlet>),
    })
}

/// Reads standard error to its end. A server that a command left behind may hold it open for ever,
/// so once every status came, it is waited for only a moment.
async fn listen(stderr: Option<ChildStderr>, mut said: Said, begun: oneshot::Sender<()>) -> Said {
    let Some(mut stderr) = stderr else { return said };
    let mut buffer = [0; 4096];
    let mut begun = Some(begun);
    loop {
        if let Some(begun) = begun.take_if(|_| said.begun) {
            // Only a job that was dropped wants to know.
            let _ = begun.send(());
        }
        let read = stderr.read(&mut buffer);
        let read = match said.complete() {
            true => tokio::time::timeout(LINGER, read).await.unwrap_or(Ok(0)),
            false => read.await,
        };
        match read {
            Ok(read @ 1..) => said.push(&buffer[..read]),
            _ => return said,
        }
    }
}

struct Running {
    far: Arc<Far>,
    commands: Vec<String>,
    departs: Departs,
    nonce: Nonce,
    child: Option<Child<Link>>,
    begun: Option<oneshot::Receiver<()>>,
    listening: Option<JoinHandle<Said>>,
    /// Tells when the job, which was ended, is gone.
    departed: Option<oneshot::Receiver<()>>,
    exit: Option<Exit>,
}

#[async_trait]
impl ProcessHandle for Running {
    async fn wait(&mut self) -> Result<Exit> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let ended = || Error::failed("the command was ended");
        if let Some(departed) = self.departed.as_mut() {
            let _ = departed.await;
            return Err(ended());
        }
        let listening = self.listening.as_mut().ok_or_else(ended)?;
        let said = listening.await.map_err(|_| ended())?;
        self.listening = None;
        // The channel may be closed only now: to close it earlier is to lose what is still on its way.
        let child = self.child.take().ok_or_else(ended)?;
        if !said.complete() {
            self.explain(child, &said).await?;
        }
        let exit = exits(&self.commands, &said);
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    fn kill(&mut self) {
        let (Some(begun), None) = (self.begun.take(), &self.exit) else { return };
        let (nonce, job) = (self.nonce.clone(), self.commands.join(" | "));
        let leaving = Leaving { nonce, job, begun, child: self.child.take(), listening: self.listening.take() };
        let Departs::AsItSays(on_drop) = self.departs else { return };
        let (tell, departed) = oneshot::channel();
        self.departed = Some(departed);
        let far = Arc::clone(&self.far);
        self.far.departing.add(async move {
            let gone = leaving.gone(&far, on_drop).await;
            let _ = tell.send(());
            gone
        });
    }
}

impl Running {
    /// Why a status is missing. Where the machine is still there, the job was ended there, which is
    /// for its exit to tell.
    async fn explain(&self, child: Child<Link>, said: &Said) -> Result<()> {
        let link = child.session();
        match child.wait().await {
            Ok(_) if said.statuses.iter().any(Option::is_some) => Ok(()),
            Ok(status) => {
                let text = format!("the login shell of {} did not run `{}`", self.far.name, self.commands.join(" | "));
                let cause = format!("it ended with {status}: {}", said.text().trim());
                Err(Error::failed(text).because(cause).hint("see whether the user's shell there takes commands"))
            }
            Err(_) if link.check().await.is_ok() => Ok(()),
            Err(_) => {
                let text =
                    format!("the connection to {} was lost while `{}` ran", self.far.name, self.commands.join(" | "));
                Err(Error::failed(text))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One entry for each command. All commands share one standard error: what was said goes to the
/// command that failed by itself.
fn exits(commands: &[String], said: &Said) -> Exit {
    let lost_its_reader = |status: Option<i32>| status == Some(128 + 13) || status.is_none();
    let failed = |status: &Option<i32>| *status != Some(0);
    let culprit = said.statuses.iter().position(|status| failed(status) && !lost_its_reader(*status));
    let culprit = culprit.or_else(|| said.statuses.iter().position(failed)).unwrap_or(commands.len() - 1);
    let step = |(index, (command, status)): (usize, (&String, &Option<i32>))| StepExit {
        command: command.clone(),
        status: *status,
        stderr: if index == culprit { said.text() } else { String::new() },
    };
    Exit { steps: commands.iter().zip(&said.statuses).enumerate().map(step).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_goes_to_the_command_that_failed_by_itself() {
        let nonce = Nonce::new();
        let mut said = Said::new(&nonce, 3);
        said.push(format!("{nonce}:0:141\ndisk full\n{nonce}:1:2\n{nonce}:2:0\n").as_bytes());
        let exit = exits(&["a".into(), "b".into(), "c".into()], &said);
        assert_eq!(exit.steps[1].stderr, "disk full\n");
        assert_eq!(exit.steps[0].stderr, "");
        let error = exit.success_on("far").unwrap_err();
        assert_eq!(error.chain(), "`b` on far exited 2: disk full");
    }
}
