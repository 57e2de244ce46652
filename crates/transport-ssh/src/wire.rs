//! The far side of the framed wire: what `reseed wire …` does on the other machine.
//!
//! - `reseed wire version` prints the version of the protocol.
//! - `reseed wire send [--encode SPEC]… -- COUNTS WORD…` runs a job and writes its output, framed and
//!   then encoded. The trailer inside says whether the job ended well, and what it said.
//! - `reseed wire receive [--decode SPEC]… -- COUNTS WORD…` decodes and unframes its input into a job.
//!   Unless the trailer comes and agrees, the job is ended without ever seeing an end of its input.
//!
//! COUNTS are the numbers of words of the job's commands, separated by commas. Length and SHA-256 are
//! those of the plain stream: the frames are inside the encoding.

mod args;
mod ends;

use std::io::Write;
use std::sync::Arc;

use reseed_core::codec::{Framed, frame};
use reseed_core::host::{Command, Host, Job, LocalConfig, LocalHost, drain, open};
use reseed_core::stream::{BoxStream, Chunks};
use reseed_core::{Error, Result};

use self::args::Call;

/// What `reseed wire version` prints: the two sides of a wire must print the same.
pub const VERSION_LINE: &str = "reseed wire 1";

/// Runs `reseed wire` with the arguments after `wire` and gives the exit status: 0, 1 after a failure
/// which it has told on standard error, 2 when it was called wrongly.
pub async fn main(args: &[String]) -> u8 {
    let call = match Call::parse(args) {
        Ok(call) => call,
        Err(error) => return tell(&error, 2),
    };
    let done = tokio::select! {
        done = run(call) => done,
        // The job's handle is dropped, and the job ended, before its input ends.
        () = ends::asked_to_end() => Err(Error::failed("ended by a signal")),
    };
    match done {
        Ok(()) => 0,
        Err(error) => tell(&error, 1),
    }
}

async fn run(call: Call) -> Result<()> {
    match call {
        Call::Version => {
            let line = Chunks::new(vec![format!("{VERSION_LINE}\n").into()]);
            ends::Output::new()?.take(Box::new(line)).await
        }
        Call::Send { codecs, job } => {
            let host = LocalHost::new("the sending machine", &LocalConfig::default());
            let stream = opened(&host, &aloud(&job)).await;
            let stream = codecs.iter().fold(frame(stream), |stream, codec| codec.encode(stream));
            ends::Output::new()?.take(stream).await
        }
        Call::Receive { codecs, job } => {
            let host = LocalHost::new("the receiving machine", &LocalConfig::default());
            let stream = codecs.iter().rev().fold(ends::Input::boxed()?, |stream, codec| codec.decode(stream));
            let process = (&host as &dyn Host).start(&aloud(&job)).await?;
            drain(Framed::boxed(stream), process, &Arc::default()).await
        }
    }
}

/// The job, which hands on what its commands say although they end well. What they say when they
/// fail is in the error.
fn aloud(job: &Job) -> Job {
    let step = |step: &Command| {
        step.clone().heard_by(|said| {
            let _ = std::io::stderr().write_all(said.as_bytes());
            Ok(())
        })
    };
    Job::pipe(job.steps().iter().map(step).collect())
}

/// A job that can't be started fails in the trailer as one that fails later.
async fn opened(host: &LocalHost, job: &Job) -> BoxStream {
    match open(host, job).await {
        Ok(stream) => stream,
        Err(error) => Box::new(Chunks::failing(vec![], error)),
    }
}

fn tell(error: &Error, status: u8) -> u8 {
    // Nobody is there to hear that nobody is there to hear.
    let _ = writeln!(std::io::stderr(), "{}", error.chain());
    status
}
