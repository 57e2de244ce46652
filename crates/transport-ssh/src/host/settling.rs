//! What processes that are gone have still at work on the other machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reseed_core::host::Bygone;
use reseed_core::{Error, Result};

use super::far::Far;
use super::marker::of_process;
use super::{old, remote};

/// Tenths of a second for which it is awaited, and how long that may take a machine that is slow to look.
const TENTHS: u32 = 250;
const PATIENCE: Duration = Duration::from_secs(45);
/// How often nothing must be found: a job that has just come has no shell yet.
const LOOKS: u32 = 3;

/// The processes whose jobs are awaited before the next command starts.
#[derive(Debug, Default)]
pub(super) struct Settling {
    new: Mutex<Vec<Bygone>>,
    awaited: tokio::sync::Mutex<Vec<Bygone>>,
}

impl Settling {
    pub(super) fn add(&self, bygone: &Bygone) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push(bygone.clone());
    }
}

impl Far {
    /// Waits until nothing of the processes that were added is at work there. What does not end in time is told,
    /// and so is one of which it can't be asked.
    ///
    /// # Errors
    /// When the machine can't be reached; whoever comes next waits then.
    pub(super) async fn settled(self: &Arc<Self>) -> Result<()> {
        let mut awaited = self.settling.awaited.lock().await;
        awaited.append(&mut self.settling.new.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(bygone) = awaited.last() {
            // Kept in the list until it is known: whoever waits may be dropped.
            self.settle(bygone).await?;
            awaited.pop();
        }
        Ok(())
    }

    async fn settle(self: &Arc<Self>, bygone: &Bygone) -> Result<()> {
        if !old::heard(bygone.mark()).await {
            bygone.is_unknown(&self.name, &Error::failed("its old connection does not answer"));
        }
        let (link, name) = (self.link().await?, of_process(bygone.mark()));
        let command = remote::settled(TENTHS, LOOKS);
        let asked = self.ask(&link, &command, &name);
        let Ok(output) = tokio::time::timeout(PATIENCE, asked).await else {
            bygone.is_unknown(&self.name, &Error::failed(format!("no answer within {} s", PATIENCE.as_secs())));
            return Ok(());
        };
        let output = output?;
        match output.exit.code() {
            Some(0) => {}
            Some(1) => bygone.goes_on(&self.name, &remote::left(&output.text())),
            _ => output.exit.success_on(&self.name).err().iter().for_each(|why| bygone.is_unknown(&self.name, why)),
        }
        Ok(())
    }
}
