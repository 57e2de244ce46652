//! Which `zfs` commands a guard lets a sending machine be told: the rules `zfs-snapshot`, `zfs-send` and
//! `zfs-send-intermediary`.
//!
//! An object is a dataset; with a `/` at its end, also everything below it. Names are judged twice: that
//! ZFS would take them, and that they are, or are about, what was granted. What is destroyed must have
//! been made by reseed: a snapshot, or a bookmark, that bears the id of a run. A token, by which a send goes
//! on where it was interrupted, is taken apart, and what it names is judged like any other name.

use reseed_core::guard::{GuardRule, Rule, Verdict, script};
use reseed_core::register_rule;
use reseed_storage::name::run_of;

use crate::name;
use crate::prune;
use crate::stream::token::Token;
use crate::zfs::MOUNTS;

/// Datasets, as they are granted.
#[derive(Debug)]
struct Datasets(Vec<Dataset>);

#[derive(Debug)]
struct Dataset {
    name: String,
    /// Whether those below are granted too.
    tree: bool,
}

impl Datasets {
    fn new(objects: Vec<String>) -> Result<Self, String> {
        if objects.is_empty() {
            return Err("it needs a dataset: `RULE=pool/name`".to_owned());
        }
        objects.iter().map(|object| Dataset::new(object)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this very dataset is granted.
    fn have(&self, dataset: &str) -> bool {
        self.0.iter().any(|granted| granted.has(dataset))
    }

    /// Whether a dataset and all below it are granted.
    fn have_tree(&self, dataset: &str) -> bool {
        self.0.iter().any(|granted| granted.tree && granted.has(dataset))
    }

    /// Whether a dataset may be looked at: granted, or above one that is.
    fn may_see(&self, dataset: &str) -> bool {
        self.have(dataset) || self.0.iter().any(|granted| name::under(&granted.name, dataset).is_some())
    }

    /// What both rules ask: nothing in it changes anything or reads data.
    fn questions(&self, argv: &[&str]) -> Verdict {
        // Snapshots of datasets above are nobody's business: who knows their GUIDs could name them in a token.
        let about = |name: &str| {
            let dataset = name.split(['@', '#']).next().unwrap_or_default();
            match name::wrong(name) {
                Some(why) => Verdict::Refused(why.to_owned()),
                None if name != dataset => Verdict::of(self.have(dataset), || not_granted(dataset)),
                None => Verdict::of(self.may_see(dataset), || not_granted(dataset)),
            }
        };
        if script(argv, MOUNTS).is_some_and(<[_]>::is_empty) {
            return Verdict::Allowed;
        }
        let granted = |name: &&str| Verdict::of(self.have(name), || not_granted(name));
        let about_all = |names: &[&str]| names.iter().map(granted).find(is_refused).unwrap_or(Verdict::Allowed);
        match argv {
            ["zfs"] => Verdict::Allowed,
            ["zfs", "list", "-H", "-o", FILESYSTEM, "-t", "filesystem,volume", "-r", name] => about(name),
            ["zfs", "list", "-H", "-o", "name", name] | ["zfs", "allow", name] => about(name),
            ["zfs", "get", "-Hp", "-o", "value", "guid", name] => about(name),
            // The snapshots of all datasets are asked for at once.
            ["zfs", "get", "-Hp", "-d", "1", "-o", PROPERTY, which, names @ ..] if !names.is_empty() => {
                match are_properties(which) {
                    true => about_all(names),
                    false => Verdict::Refused("these are no names of properties".to_owned()),
                }
            }
            ["zfs", "get", "-Hp", "-o", PROPERTY, which, name] => match are_properties(which) {
                true => about(name),
                false => Verdict::Refused("these are no names of properties".to_owned()),
            },
            ["zfs", verb, ..] => Verdict::Refused(format!("`zfs {verb}` in this form is none of what this key is for")),
            _ => Verdict::Unknown,
        }
    }

    /// Allowed for a snapshot that reseed made of a granted dataset.
    fn own(&self, name: &str) -> Verdict {
        let (dataset, short) = name.split_once('@').unwrap_or((name, ""));
        match name::wrong(name) {
            Some(why) => Verdict::Refused(why.to_owned()),
            None if !self.have(dataset) => Verdict::Refused(not_granted(dataset)),
            None => Verdict::of(run_of(short).is_some(), || format!("{name} bears no id of a run of reseed")),
        }
    }

    /// Allowed for any snapshot of a granted dataset.
    fn any(&self, name: &str) -> Verdict {
        match (name::wrong(name), name.split_once('@')) {
            (Some(why), _) => Verdict::Refused(why.to_owned()),
            (None, Some((dataset, _))) => Verdict::of(self.have(dataset), || not_granted(dataset)),
            (None, None) => Verdict::Refused(format!("{name} is no snapshot")),
        }
    }

    /// As [`own`](Self::own), for a bookmark that reseed made for some target.
    fn own_bookmark(&self, name: &str) -> Verdict {
        match name.split_once('#').and_then(|(dataset, short)| Some((dataset, short.split_once('.')?.0))) {
            _ if name::wrong(name).is_some() => Verdict::Refused("this is no name of a bookmark".to_owned()),
            Some((dataset, _)) if !self.have(dataset) => Verdict::Refused(not_granted(dataset)),
            Some((_, run)) if run_of(run).is_some() => Verdict::Allowed,
            _ => Verdict::Refused(format!("{name} bears no id of a run of reseed")),
        }
    }

    /// Allowed for a token of a snapshot that reseed made of a granted dataset, or of any of it.
    fn token(&self, text: &str, whose: Whose) -> Verdict {
        match Token::read(text) {
            // One way to write each: nothing that is read here in another way than `zfs` does.
            Ok(token) if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) => match whose {
                Whose::Own => self.own(&token.name),
                Whose::Anybodys => self.any(&token.name),
            },
            Ok(_) => Verdict::Refused("the resume token is written oddly".to_owned()),
            Err(why) => Verdict::Refused(why.to_string()),
        }
    }
}

impl Dataset {
    fn new(object: &str) -> Result<Self, String> {
        let (name, tree) = object.strip_suffix('/').map_or((object, false), |name| (name, true));
        match name::wrong_dataset(name) {
            Some(why) => Err(format!("`{object}` is no dataset: {why}")),
            None => Ok(Self { name: name.to_owned(), tree }),
        }
    }

    fn has(&self, dataset: &str) -> bool {
        name::under(dataset, &self.name).is_some_and(|rest| rest.is_empty() || self.tree)
    }
}

const FILESYSTEM: &str = "name,origin,mountpoint,canmount,mounted";
const PROPERTY: &str = "name,property,value,source";

fn not_granted(dataset: &str) -> String {
    format!("the dataset {dataset} is not granted to this key")
}

fn are_properties(which: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:@,".contains(c);
    !which.starts_with('-') && !which.is_empty() && which.chars().all(plain)
}

/// Allows snapshots that bear the id of a run, holds on them, and their end.
#[derive(Debug)]
struct SnapshotRule(Datasets);

register_rule!(SnapshotRule);

impl GuardRule for SnapshotRule {
    const NAME: &'static str = crate::snapshot::NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        Datasets::new(objects).map(Self)
    }
}

impl Rule for SnapshotRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        match argv {
            ["zfs", "snapshot", "-r", rest @ ..] => self.snapshot(rest, true),
            ["zfs", "snapshot", rest @ ..] => self.snapshot(rest, false),
            ["zfs", "destroy", name] if name.contains('#') => self.0.own_bookmark(name),
            ["zfs", "destroy", name] => self.0.own(name),
            ["zfs", "bookmark", snapshot, name] => self.bookmark(snapshot, name),
            ["zfs", "hold", tag, name] => tagged(tag, || self.0.own(name)),
            ["zfs", "release", tag, name] => tagged(tag, || self.0.any(name)),
            _ => self.0.questions(argv),
        }
    }
}

impl SnapshotRule {
    /// A bookmark of a snapshot is called as that one, and for which target it is.
    fn bookmark(&self, snapshot: &str, name: &str) -> Verdict {
        let rest = name.strip_prefix(&snapshot.replacen('@', "#", 1));
        match (self.0.own(snapshot), rest.is_some_and(prune::is_bookmark_end)) {
            (Verdict::Allowed, true) => self.0.own_bookmark(name),
            (Verdict::Allowed, false) => Verdict::Refused("a bookmark is called as its snapshot".to_owned()),
            (refused, _) => refused,
        }
    }

    /// The three properties by which a snapshot tells what it is for, and names that bear the same run.
    fn snapshot(&self, rest: &[&str], tree: bool) -> Verdict {
        let ["-o", run, "-o", pipeline, "-o", target, names @ ..] = rest else {
            return Verdict::Refused("a snapshot is taken with its three properties and no others".to_owned());
        };
        let value = |property: &str, key: &str| property.strip_prefix(key).is_some_and(is_value);
        if !value(run, "reseed:run=") || !value(pipeline, "reseed:pipeline=") || !value(target, "reseed:target=") {
            return Verdict::Refused("a snapshot is taken with its three properties and no others".to_owned());
        }
        if names.is_empty() {
            return Verdict::Refused("it names no snapshot".to_owned());
        }
        names
            .iter()
            .map(|name| self.taken(name, &run["reseed:run=".len()..], tree))
            .find(is_refused)
            .unwrap_or(Verdict::Allowed)
    }

    fn taken(&self, name: &str, run: &str, tree: bool) -> Verdict {
        let (dataset, short) = name.split_once('@').unwrap_or((name, ""));
        match self.0.own(name) {
            Verdict::Allowed if run_of(short) != Some(run) => {
                Verdict::Refused(format!("{name} is not of the run {run}"))
            }
            Verdict::Allowed if tree && !self.0.have_tree(dataset) => {
                Verdict::Refused(format!("what is below {dataset} is not granted to this key"))
            }
            verdict => verdict,
        }
    }
}

fn is_refused(verdict: &Verdict) -> bool {
    *verdict != Verdict::Allowed
}

/// What a property's value may be: one line, and not endless.
fn is_value(value: &str) -> bool {
    value.len() <= 1024 && !value.contains(char::is_control)
}

fn tagged(tag: &str, then: impl FnOnce() -> Verdict) -> Verdict {
    let plain = tag
        .strip_prefix("reseed:")
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@']) && is_value(rest));
    if plain { then() } else { Verdict::Refused(format!("the tag {} is none of reseed's", tag.escape_debug())) }
}

/// Allows what is sent: snapshots that reseed made, whole or from an older one of the same dataset.
#[derive(Debug)]
struct SendRule(Datasets);

register_rule!(SendRule);

impl GuardRule for SendRule {
    const NAME: &'static str = crate::send::NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        Datasets::new(objects).map(Self)
    }
}

impl Rule for SendRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        self.0.sent(argv, Whose::Own)
    }
}

/// Name of the rule for a stage that sends what is between as well.
pub(crate) const INTERMEDIARY: &str = "zfs-send-intermediary";

/// As [`SendRule`], and several snapshots in one stream, or a part of one, whoever took them.
#[derive(Debug)]
struct IntermediaryRule(Datasets);

register_rule!(IntermediaryRule);

impl GuardRule for IntermediaryRule {
    const NAME: &'static str = INTERMEDIARY;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        Datasets::new(objects).map(Self)
    }
}

impl Rule for IntermediaryRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        self.0.sent(argv, Whose::Anybodys)
    }
}

/// Whose snapshots are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Those that reseed made.
    Own,
    /// Those, and whatever others took.
    Anybodys,
}

impl Datasets {
    fn sent(&self, argv: &[&str], whose: Whose) -> Verdict {
        let ["zfs", "send", rest @ ..] = argv else { return self.questions(argv) };
        if let ["-t", token] | ["-n", "-P", "-t", token] | ["-nvP", "-t", token] = rest {
            return self.token(token, whose);
        }
        let flags = rest.iter().take_while(|word| matches!(**word, "-n" | "-P" | "-L" | "-e" | "-c" | "-w")).count();
        match &rest[flags..] {
            [snapshot] => self.own(snapshot),
            ["-i", base, snapshot] => self.from(base, snapshot, |name| self.own(name)),
            ["-I", base, snapshot] if whose == Whose::Anybodys => self.from(base, snapshot, |name| self.any(name)),
            _ => Verdict::Refused("`zfs send` in this form is none of what this key is for".to_owned()),
        }
    }

    fn from(&self, base: &str, snapshot: &str, judge: impl Fn(&str) -> Verdict) -> Verdict {
        let of = |name: &str| name.split(['@', '#']).next().unwrap_or_default().to_owned();
        match name::wrong(base) {
            Some(why) => Verdict::Refused(why.to_owned()),
            None if of(base) != of(snapshot) => Verdict::Refused(format!("{base} is of another dataset")),
            None => judge(snapshot),
        }
    }
}

#[cfg(test)]
mod tests;
