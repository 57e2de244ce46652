//! A stage with a time limit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Around, Stage};

/// Another stage with a time limit, which the engine keeps.
#[derive(Debug)]
pub(crate) struct Limited {
    /// It.
    pub inner: Arc<dyn Stage>,
    /// How long it may work.
    pub limit: Duration,
}

#[async_trait]
impl Around for Limited {
    fn inner(&self) -> &dyn Stage {
        self.inner.as_ref()
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }
}
