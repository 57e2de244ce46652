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

use reseed_core::Error;
use reseed_core::event::{Event, Observer};
use reseed_core::journal::StateDirectory;

use crate::observe::Speaker;
use crate::{exit, out};

/// How long what is still going on may take when a command is done.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Says that a run which was named is not known: the call is wrong.
fn unknown(run: &str, state: &StateDirectory) -> u8 {
    out::error(&format!("there is no run {run} in {}", state.path().display()), Some("reseed status tells the runs"));
    exit::WRONG
}

/// Tells of what is wrong but in the way of nothing.
fn warn(speaker: &Speaker, error: &Error) {
    speaker.on(&Event::Warning { stage: None, text: error.chain() });
    if let Some(hint) = error.hint_text() {
        speaker.say(&format!("  hint: {hint}"));
    }
}

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
