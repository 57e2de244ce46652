//! One file for each subcommand.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod forget;
pub(crate) mod guard;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod recover;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod schema;
pub(crate) mod stages;
pub(crate) mod status;

use std::time::Duration;

use crate::{exit, out};

/// How long what is still going on may take when a command is done.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs work on a runtime of its own and gives its exit code. Nothing before this needs one.
pub(crate) fn on_runtime(work: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            runtime.shutdown_timeout(LAST_WORDS);
            code
        }
        Err(error) => {
            out::error(&format!("can't start: {error}"), Some("see `ulimit -u` and `ulimit -n`"));
            exit::FAILED
        }
    }
}
