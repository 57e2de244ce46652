//! What every guard allows: questions that tell no secret, and wrappers around what is judged itself.

use super::{Rule, Verdict, script};
use crate::host::{LINKED, MACHINE, WHICH, split_job};

/// The rule that needs no grant.
#[derive(Debug)]
pub(super) struct Base;

impl Rule for Base {
    fn judge(&self, argv: &[&str]) -> Verdict {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match argv {
            ["id", "-u" | "-un" | "-Gn"] | ["uname", "-s"] => return Verdict::Allowed,
            // What may run may run as root where the system lets this user: `sudo` has its own say.
            ["sudo" | "doas", "-n", "--", inner @ ..] => return Verdict::Runs(vec![owned(inner)]),
            _ => {}
        }
        if script(argv, MACHINE).is_some_and(<[_]>::is_empty) || script(argv, WHICH).is_some_and(|args| args.len() == 1)
        {
            return Verdict::Allowed;
        }
        match script(argv, LINKED) {
            Some(words) => match split_job(&owned(words)) {
                Some(steps) => Verdict::Runs(steps),
                None => Verdict::Refused("its counts do not add up".to_owned()),
            },
            None => Verdict::Unknown,
        }
    }
}
