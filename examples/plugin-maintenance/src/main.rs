//! `reseed` with one more stage.

use std::process::ExitCode;

// Linked for its plugins alone: without this line nothing of it would register.
use reseed_plugin_maintenance as _;

fn main() -> ExitCode {
    ExitCode::from(reseed_cli::main(std::env::args_os()))
}
