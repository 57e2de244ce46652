//! A machine over SSH.

mod far;
mod leaving;
mod link;
pub(crate) mod marker;
mod old;
mod process;
pub(crate) mod remote;
mod settling;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::{Become, Bygone, Command, Departing, Host, Job, Process};
use reseed_core::{Error, Result};
use tokio::sync::OnceCell;

use self::far::{Departs, Far};
use self::link::{Connector, Link};
use self::settling::Settling;
use crate::SshConfig;

/// A machine over SSH as a [`Host`].
///
/// - The connection is made when it is first needed, shared by all commands, and made anew by the
///   next call when it broke. It ends when the host is dropped, at the latest a minute later.
/// - Every command runs under a fixed script of `sh`, which tells each exit status on standard error;
///   a command whose status never came has failed.
/// - A process that is dropped is signalled there and then loses its channel; the next command waits
///   until it is gone, over a new connection where the old one broke. What runs as another user can't
///   be signalled, and ends when it next reads or writes.
/// - What a process that is gone has still at work there is known by its mark, which is in the arguments of
///   each job's shells.
/// - As with `ssh` itself, a server that a command leaves behind must not hold the command's standard
///   output or error: sshd tells no end of them while somebody has them open.
#[derive(Debug)]
pub struct SshHost {
    far: Arc<Far>,
    become_: Option<Become>,
    login: OnceCell<String>,
}

impl SshHost {
    /// A machine under `name`; nothing is connected yet.
    pub fn new(name: impl Into<String>, config: SshConfig) -> Self {
        let become_ = config.become_;
        let far = Far {
            name: name.into(),
            connector: Connector::new(config),
            departing: Departing::default(),
            settling: Settling::default(),
        };
        Self { far: Arc::new(far), become_, login: OnceCell::new() }
    }

    /// The user whom commands run as, asked for once.
    async fn login(&self, link: &Link) -> Result<&str> {
        let ask = async {
            let mut process = self.start(link, &Command::new("id").arg("-un").into(), "").await?;
            drop(process.stdin.take());
            let mut said = String::new();
            if let Some(mut stdout) = process.stdout.take() {
                tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut said).await?;
            }
            process.handle.wait().await?.success_on(&self.far.name)?;
            Ok::<_, Error>(said.trim().to_owned())
        };
        self.login.get_or_try_init(|| ask).await.map(String::as_str)
    }

    async fn start(&self, link: &Link, job: &Job, login: &str) -> Result<Process> {
        let argvs: Vec<_> = job.steps().iter().map(|step| step.argv(login, self.become_)).collect();
        self.far.start(link, job, &argvs, Departs::AsItSays(job.on_drop())).await
    }
}

#[async_trait]
impl Host for SshHost {
    fn name(&self) -> &str {
        &self.far.name
    }

    fn is_local(&self) -> bool {
        false
    }

    fn address(&self) -> String {
        self.far.connector.address()
    }

    async fn make_ready(&self) {
        if let Ok(link) = self.far.link().await {
            // The first command meets what went wrong.
            let _ = self.login(&link).await;
        }
    }

    fn settle(&self, bygone: &Bygone) {
        self.far.settling.add(bygone);
    }

    async fn spawn(&self, job: &Job) -> Result<Process> {
        self.far.departing.gone().await?;
        self.far.settled().await?;
        let link = self.far.link().await?;
        let login = self.login(&link).await?;
        self.start(&link, job, login).await
    }
}
