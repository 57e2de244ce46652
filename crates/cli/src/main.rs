//! The `reseed` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(reseed_cli::main(std::env::args_os()))
}
