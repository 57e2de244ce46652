//! The reseed command: arguments, observers and exit codes, and nothing else.
//!
//! [`main`] is the whole program. A binary of another crate that links plugins of its own calls it
//! in the same way and has a `reseed` with more stages:
//!
//! ```no_run
//! // use my_stages as _;
//! fn main() -> std::process::ExitCode {
//!     std::process::ExitCode::from(reseed_cli::main(std::env::args_os()))
//! }
//! ```

pub mod args;
mod commands;
pub mod demo;
pub mod exit;
mod file;
pub mod human;
mod observe;
mod out;
pub mod problems;
pub mod reference;
mod signals;
pub mod staged;
pub mod stream;

use std::ffi::OsString;

use clap::Parser;

// Linked for their plugins alone: without these lines nothing of them would register.
use reseed_pg as _;
use reseed_storage_btrfs as _;
use reseed_storage_dir as _;
use reseed_storage_zfs as _;
use reseed_transport_s3 as _;
use reseed_transport_ssh as _;

use args::{Args, Command};

/// Does what the arguments ask for and gives the exit code, see [`exit`]. The first of `args` is
/// the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    out::tell_panics_in_one_line();
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                return exit::WRONG;
            }
            out::judge(printed);
            return out::code(exit::DONE);
        }
    };
    match args.command {
        // What became of the run is in its journal too, and its exit code is of the run.
        Command::Run(args) => commands::run::run(&args),
        other => out::code(command(other)),
    }
}

fn command(command: Command) -> u8 {
    match command {
        Command::Run(args) => commands::run::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Recover(args) => commands::recover::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Staged(args) => staged::run(&args),
        Command::Stream(args) => stream::run(&args),
        Command::Forget(args) => commands::forget::run(&args),
        Command::Stages(args) => commands::stages::run(&args),
        Command::Schema => commands::schema::run(),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
        Command::Guard(args) => commands::guard::run(args),
        Command::Wire(args) => commands::on_runtime(reseed_transport_ssh::wire::main(&args.words)),
    }
}
