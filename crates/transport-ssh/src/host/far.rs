//! The other machine, as all of its jobs share it.

use std::sync::Arc;

use openssh::{Session, Stdio};
use reseed_core::host::{Command, Departing, Job, OnDrop, Output, Process};
use reseed_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::link::{Connector, Link};
use super::marker::Nonce;
use super::settling::Settling;
use super::{process, remote};
use crate::error::{ConnectError, chain};

/// Whether a job that is dropped is seen off.
#[derive(Debug, Clone, Copy)]
pub(super) enum Departs {
    /// As its commands say.
    AsItSays(OnDrop),
    /// Its channel is closed, and that is that: it sees off another.
    Silently,
}

/// The other machine: the connection to it, what was dropped there, and who has died and is awaited there.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) name: String,
    pub(super) connector: Connector,
    pub(super) departing: Departing,
    pub(super) settling: Settling,
}

impl Far {
    /// The connection.
    pub(super) async fn link(&self) -> Result<Link> {
        let linked = self.connector.link().await;
        linked.map_err(|error| error.on(&self.name, &self.connector.by_hand()))
    }

    /// Starts a job, which consists of these argument vectors.
    pub(super) async fn start(
        self: &Arc<Self>,
        link: &Link,
        job: &Job,
        argvs: &[Vec<String>],
        departs: Departs,
    ) -> Result<Process> {
        let nonce = Nonce::new();
        let text = remote::command(&nonce, argvs);
        if text.len() > remote::LONGEST {
            return Err(Error::failed(format!("`{job}` is too long for a command on {}", self.name)));
        }
        let mut command = Session::to_raw_command(link.clone(), text);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().await.map_err(|error| self.unspawned(job, &error))?;
        process::take(self, job, departs, nonce, child)
    }

    fn unspawned(&self, job: &Job, error: &openssh::Error) -> Error {
        let cause = ConnectError::Other(chain(error));
        cause.on(&self.name, &self.connector.by_hand()).context(format!("can't start `{job}` on {}", self.name))
    }

    /// Ends a job that was dropped, or lets it finish, and tells whether it was gone in time.
    pub(super) async fn is_gone(self: &Arc<Self>, nonce: &Nonce, on_drop: OnDrop, tenths: u32) -> Result<bool> {
        let output = self.ask(&self.link().await?, &remote::gone(on_drop, tenths), &nonce.to_string()).await?;
        if output.exit.code() == Some(1) {
            return Ok(false);
        }
        output.exit.success_on(&self.name).map(|()| true)
    }

    /// Runs a command that looks after jobs, whose name it reads.
    pub(super) async fn ask(self: &Arc<Self>, link: &Link, command: &Command, name: &str) -> Result<Output> {
        let argv = command.argv("", None);
        let mut process = self.start(link, &command.clone().into(), &[argv], Departs::Silently).await?;
        if let Some(mut stdin) = process.stdin.take() {
            // One that ended early tells why by its exit.
            let _ = stdin.write_all(format!("{name}\n").as_bytes()).await;
        }
        let mut stdout = Vec::new();
        if let Some(mut pipe) = process.stdout.take() {
            pipe.read_to_end(&mut stdout).await?;
        }
        Ok(Output { stdout, exit: process.handle.wait().await? })
    }
}
