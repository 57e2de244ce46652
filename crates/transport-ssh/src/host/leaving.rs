//! Jobs on the other machine that were dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openssh::Child;
use reseed_core::host::OnDrop;
use reseed_core::{Error, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::far::Far;
use super::link::Link;
use super::marker::{Nonce, Said};

/// How long a job may take to begin, or to turn out never to have begun.
const BEGIN: Duration = Duration::from_secs(10);
/// Tenths of a second that a job which was ended may go on before its channel is closed, and then.
const WITH_CHANNEL: u32 = 20;
const WITHOUT_CHANNEL: u32 = 200;
/// How long it is tried to reach the machine, and how often.
const REACH: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(500);

/// A job that was dropped: what is needed to see it gone.
pub(super) struct Leaving {
    pub(super) nonce: Nonce,
    pub(super) job: String,
    pub(super) begun: oneshot::Receiver<()>,
    pub(super) child: Option<Child<Link>>,
    pub(super) listening: Option<JoinHandle<Said>>,
}

impl Leaving {
    /// Ends the job, or lets it finish, and waits until it is gone. It is signalled before its channel
    /// is closed, lest it take the end of its input for the end of its stream; then what no signal
    /// reaches sees its input end and its output closed.
    pub(super) async fn gone(self, far: &Arc<Far>, on_drop: OnDrop) -> Result<()> {
        let Self { nonce, job, begun, child, listening } = self;
        // Either it begins, or its standard error ends: by then it is found, if it is there.
        let _ = tokio::time::timeout(BEGIN, begun).await;
        let patience = if on_drop == OnDrop::End { WITH_CHANNEL } else { WITHOUT_CHANNEL };
        let gone = far.is_gone(&nonce, on_drop, patience).await;
        drop(child);
        listening.iter().for_each(JoinHandle::abort);
        match gone {
            Ok(true) => Ok(()),
            _ => insist(far, &nonce, &job, on_drop).await,
        }
    }
}

async fn insist(far: &Arc<Far>, nonce: &Nonce, job: &str, on_drop: OnDrop) -> Result<()> {
    let begun = Instant::now();
    loop {
        match far.is_gone(nonce, on_drop, WITHOUT_CHANNEL).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Error::failed(format!("`{job}` was ended and is still running on {}", far.name))),
            Err(_) if begun.elapsed() < REACH => tokio::time::sleep(INTERVAL).await,
            Err(error) => {
                return Err(error.context(format!("can't tell whether `{job}` has ended on {}", far.name)));
            }
        }
    }
}
