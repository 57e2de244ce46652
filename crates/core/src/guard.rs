//! What a machine lets itself be told: rules by which each command of a stage is judged on the machine
//! that shall run it.
//!
//! A key that leads to a machine can be bound to a *guard*: a program there that gets each command
//! before it runs. It knows nothing but its grants, `RULE` or `RULE=OBJECT`, for example the name of a
//! stage and a dataset. A [`Rule`] knows which argument vectors its stage makes, and takes these alone,
//! about these objects alone. What no rule allows does not run.
//!
//! Rules register themselves as stages do ([`register_rule!`](crate::register_rule)); a stage tells by
//! [`Stage::grants`](crate::stage::Stage::grants) what it needs.

mod base;

use std::collections::BTreeMap;
use std::fmt;

use crate::host::{files, shell_quote};
use crate::names;

/// How deep commands that run others may be nested: `sudo`, a wrapper, the wire, and some.
const DEEPEST: usize = 8;

/// What a rule says of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is none of this rule's.
    Unknown,
    /// It may run.
    Allowed,
    /// It looks like one of this rule's and may not run; the reason goes on after "`…` is refused:".
    Refused(String),
    /// It does nothing but run these, each of which must be allowed itself.
    Runs(Vec<Vec<String>>),
}

impl Verdict {
    /// Allowed, or refused for this reason.
    pub fn of(allowed: bool, reason: impl FnOnce() -> String) -> Self {
        if allowed { Self::Allowed } else { Self::Refused(reason()) }
    }
}

/// Which commands of one stage may run on a machine. Pure: it is asked with nothing but the words.
pub trait Rule: fmt::Debug + Send + Sync {
    /// Judges one argument vector, byte for byte as the program would get it.
    fn judge(&self, argv: &[&str]) -> Verdict;
}

/// A rule, as it registers.
pub trait GuardRule: Rule + Sized + 'static {
    /// Its name in grants: that of the stage whose commands it knows.
    const NAME: &'static str;

    /// The rule for these objects, in the order in which they were granted.
    ///
    /// # Errors
    /// What is wrong with one of them, or that there is none.
    fn new(objects: Vec<String>) -> Result<Self, String>;
}

type Make = fn(Vec<String>) -> Result<Box<dyn Rule>, String>;

/// A registered rule.
pub struct RulePlugin {
    name: &'static str,
    make: Make,
}

inventory::collect!(RulePlugin);

impl RulePlugin {
    /// The plugin of a rule.
    pub const fn of<R: GuardRule>() -> Self {
        Self { name: R::NAME, make: |objects| R::new(objects).map(|rule| Box::new(rule) as Box<dyn Rule>) }
    }
}

/// Registers a rule by its type.
#[macro_export]
macro_rules! register_rule {
    ($rule:ty) => {
        $crate::inventory::submit! { $crate::guard::RulePlugin::of::<$rule>() }
    };
}

/// What a stage needs to be allowed on a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Name of the host in the pipeline file.
    pub host: String,
    /// The rule.
    pub rule: &'static str,
    /// What it is about, where the rule is about something.
    pub object: Option<String>,
}

impl Grant {
    /// Of a rule about an object.
    pub fn on(host: &str, rule: &'static str, object: impl Into<String>) -> Self {
        Self { host: host.to_owned(), rule, object: Some(object.into()) }
    }

    /// Of a rule that is about nothing in particular.
    pub fn plain(host: &str, rule: &'static str) -> Self {
        Self { host: host.to_owned(), rule, object: None }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}={object}", self.rule),
            None => f.write_str(self.rule),
        }
    }
}

/// Everything that is granted.
#[derive(Debug)]
pub struct Guard(Vec<Box<dyn Rule>>);

impl Guard {
    /// The guard of these grants, each `RULE` or `RULE=OBJECT`.
    ///
    /// # Errors
    /// What is wrong with a grant.
    pub fn new<'g>(grants: impl IntoIterator<Item = &'g str>) -> Result<Self, String> {
        let mut objects: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for grant in grants {
            let (rule, object) = grant.split_once('=').map_or((grant, None), |(rule, object)| (rule, Some(object)));
            objects.entry(rule).or_default().extend(object.map(str::to_owned));
        }
        let mut rules: Vec<Box<dyn Rule>> = vec![Box::new(base::Base)];
        for (name, objects) in objects {
            let plugin = inventory::iter::<RulePlugin>.into_iter().find(|plugin| plugin.name == name);
            let plugin = plugin.ok_or_else(|| format!("there is no rule `{name}`; there are: {}", known()))?;
            rules.push((plugin.make)(objects).map_err(|why| format!("the rule `{name}`: {why}"))?);
        }
        Ok(Self(rules))
    }

    /// Whether this command may run.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge<S: AsRef<str>>(&self, argv: &[S]) -> Result<(), String> {
        self.judge_at(&argv.iter().map(AsRef::as_ref).collect::<Vec<_>>(), 0)
    }

    fn judge_at(&self, argv: &[&str], depth: usize) -> Result<(), String> {
        if argv.is_empty() || depth > DEEPEST {
            return Err("commands that run commands are nested too deep, or run nothing".to_owned());
        }
        if let Some(word) = argv.iter().find(|word| word.contains('\0')) {
            return Err(format!("a word has a zero byte in it: {word:?}"));
        }
        let mut refused = None;
        for rule in &self.0 {
            match rule.judge(argv) {
                Verdict::Unknown => {}
                Verdict::Allowed => return Ok(()),
                Verdict::Runs(inner) => return self.judge_all(&inner, depth + 1),
                Verdict::Refused(why) => refused = refused.or(Some(why)),
            }
        }
        let why = refused.unwrap_or_else(|| "nothing that is granted to this key needs it".to_owned());
        Err(format!("`{}` is refused: {why}", shown(argv)))
    }

    fn judge_all(&self, inner: &[Vec<String>], depth: usize) -> Result<(), String> {
        if inner.is_empty() {
            return Err("a command that runs others runs none".to_owned());
        }
        inner.iter().try_for_each(|argv| {
            let argv: Vec<_> = argv.iter().map(String::as_str).collect();
            self.judge_at(&argv, depth)
        })
    }
}

/// Names of all registered rules.
fn known() -> String {
    let mut names: Vec<_> = inventory::iter::<RulePlugin>.into_iter().map(|plugin| plugin.name).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Words as a person may read them: one line, no longer than needed to recognise them.
fn shown(argv: &[&str]) -> String {
    let words: Vec<_> = argv.iter().map(|word| shell_quote(word)).collect();
    names::shown(&words.join(" "))
}

/// The arguments of this fixed script, if that is what runs.
pub fn script<'w, 'a>(argv: &'w [&'a str], text: &str) -> Option<&'w [&'a str]> {
    match argv {
        ["sh", "-c", is, "sh", args @ ..] if *is == text => Some(args),
        _ => None,
    }
}

/// The file that this command reads, if it is what [`Files::read`](crate::host::Files::read) runs.
pub fn reads<'a>(argv: &[&'a str]) -> Option<&'a str> {
    one(script(argv, files::READ)?)
}

/// The path whose links this command resolves, if it is what
/// [`Files::canonical`](crate::host::Files::canonical) runs.
pub fn resolves<'a>(argv: &[&'a str]) -> Option<&'a str> {
    one(script(argv, files::RESOLVE)?)
}

/// The path that this command looks for, if it is what [`Files::exists`](crate::host::Files::exists) runs.
pub fn looks_for<'a>(argv: &[&'a str]) -> Option<&'a str> {
    match argv {
        ["test", "-e", path] => Some(path),
        _ => None,
    }
}

fn one<'a>(args: &[&'a str]) -> Option<&'a str> {
    match args {
        [one] => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(["hash", "zstd"]).unwrap()
    }

    fn judge(argv: &[&str]) -> Result<(), String> {
        guard().judge(argv)
    }

    #[test]
    fn nothing_runs_that_no_rule_knows() {
        for argv in [
            &["rm", "-rf", "/"][..],
            &["sh", "-c", "id", "sh"],
            &["sh"],
            &["bash", "-c", "id"],
            &["id", "-u", "root"],
            &["sudo", "rm"],
            &["sudo", "-n", "-u", "someone", "--", "id", "-u"],
            &["env", "id", "-u"],
            &["/tmp/id", "-u"],
            &["zstd", "-q", "-c", "-T0", "-3", "/etc/shadow"],
            &["zstd", "-q", "-c", "-T0", "--rm"],
        ] {
            assert!(judge(argv).is_err(), "{argv:?}");
        }
        assert!(judge(&[]).is_err());
    }

    #[test]
    fn what_runs_others_is_judged_by_these() {
        assert_eq!(judge(&["sudo", "-n", "--", "id", "-u"]), Ok(()));
        let error = judge(&["sudo", "-n", "--", "cat", "/etc/shadow"]).unwrap_err();
        assert_eq!(error, "`cat /etc/shadow` is refused: nothing that is granted to this key needs it");
        assert!(judge(&["sudo", "-n", "--"]).is_err());
        let deep: Vec<_> = std::iter::repeat_n(["sudo", "-n", "--"], 100).flatten().chain(["id", "-u"]).collect();
        assert!(judge(&deep).is_err());
    }

    #[test]
    fn every_step_of_a_linked_job_is_judged() {
        let job = |steps: Vec<crate::host::Command>| crate::host::linked(crate::host::Job::pipe(steps));
        let argv = |job: &crate::host::Job| job.steps()[0].argv("op", None);
        let command = crate::host::Command::new;
        let good = argv(&job(vec![command("id").arg("-u"), command("zstd").args(["-q", "-d", "-c"])]));
        assert_eq!(guard().judge(&good), Ok(()));
        let bad = argv(&job(vec![command("id").arg("-u"), command("tee").arg("/etc/passwd")]));
        assert!(guard().judge(&bad).unwrap_err().contains("tee /etc/passwd"));
        let mut uncounted = good.clone();
        uncounted.push("more".to_owned());
        assert!(guard().judge(&uncounted).is_err());
    }

    #[test]
    fn a_grant_that_means_nothing_is_refused() {
        let error = Guard::new(["zsdt"]).unwrap_err();
        assert!(error.starts_with("there is no rule `zsdt`; there are: hash"), "{error}");
        assert!(Guard::new(["zstd=3"]).is_err());
    }

    #[test]
    fn what_is_shown_is_one_line() {
        assert_eq!(shown(&["a\nb", "\u{1b}[31m"]), "'a\\nb' '\\u{1b}[31m'");
        assert!(shown(&["x".repeat(1000).as_str()]).chars().count() < 250);
    }
}
