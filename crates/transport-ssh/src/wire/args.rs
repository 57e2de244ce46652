//! What `reseed wire` is called with.

use std::sync::Arc;

use reseed_core::codec::Codec;
use reseed_core::host::{Command, Job, split_job};
use reseed_core::{Error, Result, registry};

/// One call.
#[derive(Debug)]
pub(super) enum Call {
    Version,
    Send { codecs: Vec<Arc<dyn Codec>>, job: Job },
    Receive { codecs: Vec<Arc<dyn Codec>>, job: Job },
}

impl Call {
    pub(super) fn parse(args: &[String]) -> Result<Self> {
        let Some((verb, rest)) = args.split_first() else { return Err(usage()) };
        match verb.as_str() {
            "version" if rest.is_empty() => Ok(Self::Version),
            "send" => options(rest, "--encode").map(|(codecs, job)| Self::Send { codecs, job }),
            "receive" => options(rest, "--decode").map(|(codecs, job)| Self::Receive { codecs, job }),
            _ => Err(usage()),
        }
    }
}

fn options(args: &[String], option: &str) -> Result<(Vec<Arc<dyn Codec>>, Job)> {
    let Some(end) = args.iter().position(|arg| arg == "--") else { return Err(usage()) };
    let (options, words) = (&args[..end], &args[end + 1..]);
    let codecs = options.chunks(2).map(|pair| match pair {
        [name, spec] if name == option => codec(spec),
        _ => Err(usage()),
    });
    Ok((codecs.collect::<Result<_>>()?, job(words)?))
}

fn codec(spec: &str) -> Result<Arc<dyn Codec>> {
    registry::codec(spec).ok_or_else(|| Error::failed(format!("this reseed knows no codec `{spec}`")))
}

/// The words of each command, cut as the counts say.
fn job(words: &[String]) -> Result<Job> {
    let steps = split_job(words).ok_or_else(usage)?;
    Ok(Job::pipe(steps.iter().map(|step| Command::new(&step[0]).args(&step[1..])).collect()))
}

fn usage() -> Error {
    Error::failed(
        "reseed wire version | send [--encode SPEC]… -- COUNTS WORD… | receive [--decode SPEC]… -- COUNTS WORD…",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Call> {
        let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Call::parse(&args)
    }

    #[test]
    fn a_job_is_cut_as_the_counts_say() {
        let Ok(Call::Send { codecs, job }) = parse("send --encode zstd:3 -- 2,1 a -- b") else { panic!("no send") };
        assert_eq!(codecs[0].spec(), "zstd:3");
        assert_eq!(job, Job::pipe(vec![Command::new("a").arg("--"), Command::new("b")]));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for line in ["", "send", "send --", "send -- 2 a", "send -- 1 a b", "send -- 0 a", "send -- x a", "version 2"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("send --encode zstd:99 -- 1 a").is_err());
        assert!(parse("send --decode zstd:3 -- 1 a").is_err());
        assert!(parse("receive --decode -- 1 a").is_err());
    }
}
