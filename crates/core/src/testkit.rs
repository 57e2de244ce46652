//! The contracts in the docs of the traits, as functions that authors of stages, hosts and undos call
//! in their tests. They panic with what is not held.
//!
//! It is there with the feature `testkit`, which belongs into `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! reseed-core = { version = "…", features = ["testkit"] }
//! ```
//!
//! ```
//! use reseed_core::testkit::{FilterContract, stage};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let throttle = stage("use = \"throttle\"\nrate = \"1GiB/s\"");
//! FilterContract::new(throttle, b"some bytes").holds().await;
//! # });
//! ```

mod filter;
mod harm;
mod host;
mod journal;
mod probe;
mod quiesced;
mod storage;
mod transport;
mod undo;
mod unwind;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use filter::FilterContract;
pub use harm::{Harm, harmed};
pub use host::{arguments_arrive_as_they_are, bytes_arrive_as_they_are, dropped_processes_end};
pub use host::{every_exit_status_is_told, holds_as_a_host, reconnects};
pub use probe::{Probe, endless};
pub use quiesced::quiesced;
pub use storage::{StorageContract, StorageFixture};
pub use transport::TransportContract;
pub use undo::{holds_as_an_undo, survives_being_written};
pub use unwind::{FAULTS, Fault, unwinds};

use crate::Format;
use crate::engine::{Engine, Pipeline};
use crate::item::{SnapshotPart, StreamHeader, StreamItem};
use crate::journal::Book;
use crate::stage::{CheckCx, Stage, StageCx};
use crate::stream::BoxStream;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stage that a `[[stage]]` table with this text gives.
///
/// # Panics
/// With every problem of the table.
pub fn stage(table: &str) -> Arc<dyn Stage> {
    let mut stages = stages(&format!("[[stage]]\n{table}"));
    assert_eq!(stages.len(), 1, "this is not one stage: {table}");
    stages.remove(0)
}

/// The stages of a pipeline file, or of a part of one: they need not fit together.
///
/// # Panics
/// With every problem of the file.
pub fn stages(text: &str) -> Vec<Arc<dyn Stage>> {
    crate::config::stages(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// What a stage is given that is the only one of a run which nobody watches.
pub fn context(stage: Arc<dyn Stage>) -> StageCx {
    let run = Engine::new(Pipeline::new("testkit", vec![stage])).start(crate::run_id(), Book::default());
    StageCx(CheckCx { run, index: 0 })
}

/// A full stream of a dataset that nobody has.
pub fn header() -> StreamHeader {
    let part = SnapshotPart {
        dataset: "testkit".to_owned(),
        mountpoint: "/testkit".to_owned(),
        snapshot: "reseed-testkit".to_owned(),
        guid: "0123456789abcdef".to_owned(),
        main: true,
    };
    let format = Format::new("testkit");
    StreamHeader::new(part, format)
}

/// These bytes as a stream in this process.
pub fn item(stream: BoxStream) -> StreamItem {
    StreamItem::here(header(), stream)
}

/// Waits until something holds that happens elsewhere; says whether it came to that.
async fn comes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if holds().await {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How long nothing may move to count as a standstill.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Waits until something was counted and no more is; gives the count. `None` where it goes on and on.
async fn standstill(mut count: impl AsyncFnMut() -> u64) -> Option<u64> {
    let mut last = 0;
    let stands = comes_true(async || {
        let before = last;
        tokio::time::sleep(STANDSTILL).await;
        last = count().await;
        last > 0 && before == last
    });
    stands.await.then_some(last)
}
