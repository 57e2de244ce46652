//! `reseed stream`: what a send stream is, told from its bytes alone.

mod inspect;

use std::path::PathBuf;

/// Arguments of `stream`.
#[derive(Debug, clap::Args)]
pub struct StreamArgs {
    /// What to do with the stream.
    #[command(subcommand)]
    pub command: StreamCommand,
}

/// What to do with a stream.
#[derive(Debug, clap::Subcommand)]
pub enum StreamCommand {
    /// Read a stream to its end: from which snapshot to which it leads, and how many records of each type
    /// it has. Nothing but the stream is needed: no pool, no file system.
    ///
    /// Every checksum is proven. Exits with 0 if the stream is sound and whole, with 1 if it is damaged or
    /// cut off, which is told with the number of the record and the byte, and with 2 if it is no stream.
    Inspect(InspectArgs),
}

/// Arguments of `stream inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The file; `-` reads standard input.
    pub file: PathBuf,
    /// Print one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(args: &StreamArgs) -> u8 {
    match &args.command {
        StreamCommand::Inspect(args) => inspect::inspect(args),
    }
}
