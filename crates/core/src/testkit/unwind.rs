//! What every stage promises when a run does not come to its end.

use std::sync::Arc;

use async_trait::async_trait;

use super::harm::INJECTED;
use crate::engine::{Engine, Pipeline};
use crate::item::{Item, Payload};
use crate::report::Outcome;
use crate::stage::{Stage, StageCx};
use crate::{Error, Kind, Mismatch, Result};

/// How a later stage goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails.
    Fails,
    /// It panics.
    Panics,
    /// The run is cancelled.
    Cancelled,
}

/// Every fault.
pub const FAULTS: [Fault; 3] = [Fault::Fails, Fault::Panics, Fault::Cancelled];

/// Runs these stages, then one that goes wrong, once for each fault, and sees that everything was
/// taken back. `is_as_before` says whether the machines are as they were before the run.
///
/// # Panics
/// With what is not held.
pub async fn unwinds(stages: impl Fn() -> Vec<Arc<dyn Stage>>, mut is_as_before: impl AsyncFnMut() -> bool) {
    for fault in FAULTS {
        let mut stages = stages();
        stages.push(Arc::new(GoesWrong(fault)));
        let report = Engine::new(Pipeline::new("testkit", stages)).run().await;
        let error = report.error.clone().unwrap_or_default();
        assert_eq!(report.outcome, Outcome::Undone, "{fault:?}: {error}; left: {:?}", report.by_hand);
        let code = if fault == Fault::Cancelled { 130 } else { 1 };
        assert_eq!(report.exit_code(), code, "{fault:?}: {error}");
        assert!(is_as_before().await, "{fault:?}: something is left of the run");
    }
}

#[derive(Debug)]
struct GoesWrong(Fault);

#[async_trait]
impl Stage for GoesWrong {
    fn name(&self) -> &str {
        "goes-wrong"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        match self.0 {
            Fault::Fails => Err(Error::failed(INJECTED)),
            Fault::Panics => panic!("{INJECTED}"),
            Fault::Cancelled => {
                cx.run.cancel.cancel();
                Ok(input.with(Payload::Standby))
            }
        }
    }
}
