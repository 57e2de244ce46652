//! A `tee` that is made in code.

use std::sync::Arc;
use std::time::Duration;

use super::config::{Policy, is_name};
use super::{Slack, Tee as Parting};
use crate::stage::{Branch, Stage};
use crate::{Error, Result};

/// Bytes that a branch may lag: by default, and the least.
pub(super) const BUFFER: u32 = 16 << 20;
pub(super) const LEAST: u64 = 1 << 20;

/// Parts a pipeline that is built in code: one read of the source feeds several branches, each of which
/// goes on and ends by itself, as with the stage `tee` of a pipeline file. It is the last stage.
///
/// All branches must succeed, and one that is slow is waited for, unless it is said otherwise.
#[derive(Debug, Clone)]
pub struct Tee {
    branches: Vec<Branch>,
    policy: Policy,
    buffer: u64,
    patience: Option<Duration>,
}

impl Tee {
    /// One that feeds these branches.
    pub fn new(branches: Vec<Branch>) -> Self {
        Self { branches, policy: Policy::All, buffer: u64::from(BUFFER), patience: None }
    }

    /// The run is done when any of the branches is.
    pub fn any(mut self) -> Self {
        self.policy = Policy::Any;
        self
    }

    /// How many bytes, of 1 MiB to 4 GiB, a branch may lag behind the fastest one; kept in memory for
    /// each branch. 16 MiB by default.
    pub fn buffer(mut self, bytes: u64) -> Self {
        self.buffer = bytes;
        self
    }

    /// A branch that lags by more than the buffer is dropped once the others have waited for so long.
    pub fn drop_after(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The stage.
    ///
    /// # Errors
    /// When there are fewer than two branches, one has no stage or another's name, a name is not of up to
    /// 20 small letters, digits and `-`, or the buffer is out of its range. Kinds that do not fit, and what
    /// two stages claim, are told by [`Pipeline::fold`](crate::engine::Pipeline::fold).
    pub fn stage(self) -> Result<Arc<dyn Stage>> {
        if self.branches.len() < 2 {
            return Err(Error::failed("a tee has two branches or more"));
        }
        for (at, branch) in self.branches.iter().enumerate() {
            let name = &branch.name;
            if !is_name(name) {
                let error = format!("a branch is called by up to 20 small letters, digits and `-`, not `{name}`");
                return Err(Error::failed(error));
            }
            if branch.stages.is_empty() {
                return Err(Error::failed(format!("the branch {name} has no stage")));
            }
            if self.branches[..at].iter().any(|other| other.name == *name) {
                return Err(Error::failed(format!("two branches are called `{name}`")));
            }
        }
        let buffer = u32::try_from(self.buffer).ok().filter(|bytes| u64::from(*bytes) >= LEAST);
        let buffer = buffer.ok_or_else(|| Error::failed("a branch may lag by 1 MiB to 4 GiB"))?;
        let slack = Slack { buffer, patience: self.patience };
        Ok(Arc::new(Parting { branches: self.branches, policy: self.policy, slack }))
    }
}
