//! Time limits of stages.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::config::Period;
use crate::item::{Item, Payload};
use crate::stage::Stage;

/// The limits that run: of the stage at work, and of those whose streams were not all taken yet.
#[derive(Debug, Default)]
pub(super) struct Limits(Vec<Limit>);

#[derive(Debug)]
struct Limit {
    stage: String,
    within: Duration,
    until: Instant,
}

impl Limits {
    /// A stage begins.
    pub(super) fn begin(&mut self, stage: &dyn Stage) {
        // A limit that no clock can hold is none.
        let until = |within| Instant::now().checked_add(within).map(|until| (within, until));
        if let Some((within, until)) = stage.limit().and_then(until) {
            self.0.push(Limit { stage: stage.name().to_owned(), within, until });
        }
    }

    /// The stage is done and gave this. Lazy streams have only begun then.
    pub(super) fn done(&mut self, gave: &Item) {
        if !matches!(gave.payload, Payload::Streams(_)) {
            self.0.clear();
        }
    }

    /// Resolves when one has passed.
    pub(super) async fn passed(&self) -> Error {
        let Some(first) = self.0.iter().min_by_key(|limit| limit.until) else { return std::future::pending().await };
        tokio::time::sleep_until(first.until).await;
        let text = format!("{} was not done within {}", first.stage, Period(first.within));
        Error::failed(text).hint(format!("if it needs longer, raise `timeout` of the stage {}", first.stage))
    }
}
