//! A received copy that is not to be run.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::item::{Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};

/// A copy beside the live data that stays as it was received.
#[derive(Debug)]
pub struct Pristine {
    /// The machine that holds it.
    pub host: Arc<dyn Host>,
    /// What a person can do who wants it to take a place.
    pub hint: &'static str,
}

#[async_trait]
impl Volume for Pristine {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host)
    }

    fn locate(&self, _source: &str) -> Option<String> {
        None
    }

    async fn take_place(&self, _placement: &Placement, _cx: &StageCx) -> Result<()> {
        Err(Error::failed("the received copy stays pristine and takes no place").hint(self.hint))
    }
}
