//! What the transfer needs to be allowed on the machine that sends.

use reseed_core::guard::{Grant, GuardRule, Rule, Verdict, script};
use reseed_core::host::split_job;
use reseed_core::registry::{self, CodecPlugin};
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result, inventory, register_rule};

use super::NAME;
use super::probe::PROBE;

/// What the reseed of another machine is called there, unless the file names a path.
const RESEED: &str = "reseed";

/// The sending machine, where it is another one.
pub(super) fn grants(reseed: &str, cx: &CheckCx) -> Result<Vec<Grant>> {
    if let Some(host) = cx.next_host().filter(|host| !host.is_local()) {
        let text = format!("there is no rule by which a guard on {} could judge what is sent there", host.name());
        return Err(Error::refused(text).hint("a guard is for the key of a machine that sends"));
    }
    let far = cx.previous_host().filter(|host| !host.is_local());
    Ok(far.into_iter().map(|host| grant(host.name(), reseed)).collect())
}

fn grant(host: &str, reseed: &str) -> Grant {
    match reseed {
        RESEED => Grant::plain(host, NAME),
        path => Grant::on(host, NAME, path),
    }
}

/// Allows the questions which means there are, and `reseed wire send` around commands that are
/// allowed themselves.
#[derive(Debug)]
struct TransferRule {
    /// What reseed may be called there.
    reseed: String,
}

register_rule!(TransferRule);

impl GuardRule for TransferRule {
    const NAME: &'static str = NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        match objects.as_slice() {
            [] => Ok(Self { reseed: RESEED.to_owned() }),
            [path] if reseed_core::names::wrong_path(path).is_none() => Ok(Self { reseed: path.clone() }),
            _ => Err("it may name one path of `reseed`, which begins with `/`".to_owned()),
        }
    }
}

impl Rule for TransferRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        if let Some(args) = script(argv, PROBE) {
            let known = args.split_first().is_some_and(|(reseed, programs)| {
                *reseed == self.reseed && programs.iter().all(|program| is_codecs(program))
            });
            return Verdict::of(known, || "it asks for programs that no codec has".to_owned());
        }
        match argv {
            [reseed, "wire", "version"] if *reseed == self.reseed => Verdict::Allowed,
            [reseed, "wire", "send", rest @ ..] if *reseed == self.reseed => match sent(rest) {
                Some(job) => Verdict::Runs(job),
                None => Verdict::Refused("its words do not add up".to_owned()),
            },
            _ => Verdict::Unknown,
        }
    }
}

/// Whether a codec has this program.
fn is_codecs(program: &str) -> bool {
    inventory::iter::<CodecPlugin>.into_iter().any(|plugin| plugin.program == Some(program))
}

/// The job in `[--encode SPEC]… -- COUNTS WORD…`.
fn sent(args: &[&str]) -> Option<Vec<Vec<String>>> {
    match args {
        ["--encode", spec, rest @ ..] => registry::codec(spec).and_then(|_| sent(rest)),
        ["--", words @ ..] => split_job(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(line: &str) -> Verdict {
        TransferRule::new(vec![]).unwrap().judge(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn what_is_sent_is_judged_itself() {
        let inner = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let job = Verdict::Runs(vec![inner(&["a", "--"]), inner(&["b"])]);
        assert_eq!(judge("reseed wire send --encode zstd:3 -- 2,1 a -- b"), job);
        assert_eq!(judge("reseed wire version"), Verdict::Allowed);
    }

    #[test]
    fn no_other_way_of_the_wire_is_allowed() {
        for line in [
            "reseed wire send -- 3 a b",
            "reseed wire send --encode rot13 -- 1 a",
            "reseed wire send --encode zstd:3 --encode zstd:3",
            "reseed wire send a -- 1 b",
            "reseed wire send",
        ] {
            assert!(matches!(judge(line), Verdict::Refused(_)), "{line}");
        }
        for line in ["reseed wire receive -- 1 a", "/tmp/reseed wire send -- 1 a", "reseed run x.toml", "reseed guard"]
        {
            assert_eq!(judge(line), Verdict::Unknown, "{line}");
        }
    }

    #[test]
    fn the_question_for_means_runs_no_program_of_the_askers_choice() {
        let rule = TransferRule::new(vec![]).unwrap();
        let ask = |args: &[&str]| rule.judge(&[&["sh", "-c", PROBE, "sh"], args].concat());
        assert_eq!(ask(&["reseed", "zstd"]), Verdict::Allowed);
        for args in [&["/tmp/evil", "zstd"][..], &["reseed", "nc"], &[]] {
            assert!(matches!(ask(args), Verdict::Refused(_)), "{args:?}");
        }
    }
}
