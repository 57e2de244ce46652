//! Who listens to what commands say on standard error.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Exit, Job, Process, ProcessHandle};
use crate::Result;

type Hear = dyn Fn(&str) -> Result<()> + Send + Sync;

/// Someone who is told what a command said.
#[derive(Clone)]
pub(super) struct Listener(Arc<Hear>);

impl Listener {
    pub(super) fn new(hear: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Who listens is no part of what runs.
impl PartialEq for Listener {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Listener {}

/// The process, and those who listen to its job.
pub(super) fn heard(mut process: Process, job: &Job) -> Process {
    let listeners: Vec<_> = job.steps().iter().flat_map(|step| step.listeners()).collect();
    if !listeners.is_empty() {
        process.handle = Box::new(Heard { inner: process.handle, listeners });
    }
    process
}

struct Heard {
    inner: Box<dyn ProcessHandle>,
    /// Until they were told.
    listeners: Vec<Listener>,
}

#[async_trait]
impl ProcessHandle for Heard {
    async fn wait(&mut self) -> Result<Exit> {
        let exit = self.inner.wait().await?;
        if exit.success() {
            // Not every host can tell which command said what.
            let said = exit.stderr();
            std::mem::take(&mut self.listeners).iter().try_for_each(|listener| (listener.0)(&said))?;
        }
        Ok(exit)
    }

    fn kill(&mut self) {
        self.inner.kill();
    }
}
