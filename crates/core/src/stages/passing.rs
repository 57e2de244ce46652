//! Filters that leave the bytes as they are.

use std::sync::Arc;

use async_trait::async_trait;

use crate::item::{Pass, StreamItem};
use crate::stage::{Filter, FilterStage, Stage, StageCx};
use crate::{Mismatch, Result, StreamKind};

/// A stage that puts a pass on every stream.
pub(super) fn passing(name: &'static str, pass: impl Pass + 'static) -> Arc<dyn Stage> {
    Arc::new(FilterStage(Passing { name, pass: Arc::new(pass) }))
}

#[derive(Debug)]
struct Passing {
    name: &'static str,
    pass: Arc<dyn Pass>,
}

#[async_trait]
impl Filter for Passing {
    fn name(&self) -> &str {
        self.name
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn apply(&self, mut stream: StreamItem, _cx: &StageCx) -> Result<StreamItem> {
        stream.pending.pass(Arc::clone(&self.pass));
        Ok(stream)
    }
}
