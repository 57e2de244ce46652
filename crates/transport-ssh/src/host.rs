//! A machine over SSH.

mod link;
mod marker;
mod process;
mod remote;

use async_trait::async_trait;
use openssh::{Session, Stdio};
use reseed_core::host::{Become, Command, Host, Job, Process};
use reseed_core::{Error, Result};
use tokio::sync::OnceCell;

use self::link::{Connector, Link};
use self::marker::Nonce;
use crate::SshConfig;
use crate::error::{ConnectError, chain};

/// A machine over SSH as a [`Host`].
///
/// - The connection is made when it is first needed, shared by all commands, and made anew by the
///   next call when it broke. It ends when the host is dropped, at the latest a minute later.
/// - Every command runs under a fixed script of `sh`, which tells each exit status on standard error;
///   a command whose status never came has failed.
/// - To drop a process is to close its channel. What runs there sees its input end and its output
///   closed; a command that neither reads nor writes lives on until it ends by itself.
/// - As with `ssh` itself, a server that a command leaves behind must not hold the command's standard
///   output or error: sshd tells no end of them while somebody has them open.
#[derive(Debug)]
pub struct SshHost {
    name: String,
    become_: Option<Become>,
    connector: Connector,
    login: OnceCell<String>,
}

impl SshHost {
    /// A machine under `name`; nothing is connected yet.
    pub fn new(name: impl Into<String>, config: SshConfig) -> Self {
        let become_ = config.become_;
        Self { name: name.into(), become_, connector: Connector::new(config), login: OnceCell::new() }
    }

    async fn link(&self) -> Result<Link> {
        let linked = self.connector.link().await;
        linked.map_err(|error| error.on(&self.name, &self.connector.by_hand()))
    }

    /// The user whom commands run as, asked for once.
    async fn login(&self, link: &Link) -> Result<&str> {
        let ask = async {
            let job = Job::from(Command::new("id").arg("-un"));
            let mut process = self.start(link, &job, "").await?;
            drop(process.stdin.take());
            let mut said = String::new();
            if let Some(mut stdout) = process.stdout.take() {
                tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut said).await?;
            }
            process.handle.wait().await?.success_on(&self.name)?;
            Ok::<_, Error>(said.trim().to_owned())
        };
        self.login.get_or_try_init(|| ask).await.map(String::as_str)
    }

    async fn start(&self, link: &Link, job: &Job, login: &str) -> Result<Process> {
        let nonce = Nonce::new();
        let argvs: Vec<_> = job.steps().iter().map(|step| step.argv(login, self.become_)).collect();
        let text = remote::command(&nonce, &argvs);
        if text.len() > remote::LONGEST {
            return Err(Error::failed(format!("`{job}` is too long for a command on {}", self.name)));
        }
        let mut command = Session::to_raw_command(link.clone(), text);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().await.map_err(|error| self.unspawned(job, &error))?;
        process::take(&self.name, job, nonce, child)
    }

    fn unspawned(&self, job: &Job, error: &openssh::Error) -> Error {
        let cause = ConnectError::Other(chain(error));
        cause.on(&self.name, &self.connector.by_hand()).context(format!("can't start `{job}` on {}", self.name))
    }
}

#[async_trait]
impl Host for SshHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn spawn(&self, job: &Job) -> Result<Process> {
        let link = self.link().await?;
        let login = self.login(&link).await?;
        self.start(&link, job, login).await
    }
}
