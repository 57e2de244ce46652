//! The far side of the framed wire alone, as `reseed wire` runs it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(2).collect();
    ExitCode::from(reseed_transport_ssh::wire::main(&args).await)
}
