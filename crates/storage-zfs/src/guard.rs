//! Which `zfs` commands a guard lets a sending machine be told: the rules `zfs-snapshot` and `zfs-send`.
//!
//! An object is a dataset; with a `/` at its end, also everything below it. Names are judged twice: that
//! ZFS would take them, and that they are, or are about, what was granted. What is destroyed must have
//! been made by reseed: a snapshot that bears the id of a run.

use reseed_core::guard::{GuardRule, Rule, Verdict, script};
use reseed_core::register_rule;
use reseed_storage::name::run_of;

use crate::name;
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
        let about = |name: &str| {
            let dataset = name.split(['@', '#']).next().unwrap_or_default();
            match name::wrong(name) {
                Some(why) => Verdict::Refused(why.to_owned()),
                None => Verdict::of(self.may_see(dataset), || not_granted(dataset)),
            }
        };
        if script(argv, MOUNTS).is_some_and(<[_]>::is_empty) {
            return Verdict::Allowed;
        }
        let about_all =
            |names: &[&str]| names.iter().map(|name| about(name)).find(is_refused).unwrap_or(Verdict::Allowed);
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
            ["zfs", "destroy", name] => self.0.own(name),
            ["zfs", "hold", tag, name] => tagged(tag, || self.0.own(name)),
            ["zfs", "release", tag, name] => tagged(tag, || {
                let dataset = name.split_once('@').map(|(dataset, _)| dataset).unwrap_or_default();
                match name::wrong(name) {
                    Some(why) => Verdict::Refused(why.to_owned()),
                    None => Verdict::of(self.0.have(dataset), || not_granted(dataset)),
                }
            }),
            _ => self.0.questions(argv),
        }
    }
}

impl SnapshotRule {
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
        match argv {
            ["zfs", "send", rest @ ..] => self.send(rest),
            _ => self.0.questions(argv),
        }
    }
}

impl SendRule {
    fn send(&self, rest: &[&str]) -> Verdict {
        let flags = rest.iter().take_while(|word| matches!(**word, "-n" | "-P" | "-L" | "-e" | "-c" | "-w")).count();
        match &rest[flags..] {
            [snapshot] => self.0.own(snapshot),
            ["-i", base, snapshot] => {
                let of = |name: &str| name.split(['@', '#']).next().unwrap_or_default().to_owned();
                match name::wrong(base) {
                    Some(why) => Verdict::Refused(why.to_owned()),
                    None if of(base) != of(snapshot) => Verdict::Refused(format!("{base} is of another dataset")),
                    None => self.0.own(snapshot),
                }
            }
            _ => Verdict::Refused("`zfs send` in this form is none of what this key is for".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zfs::SNAPSHOTS;

    const RUN: &str = "20261125t171234-0a1b2c";

    fn verdicts(line: &str) -> [Verdict; 2] {
        let objects = || vec!["data/pgsql".to_owned(), "data/all/".to_owned()];
        let line = line.replace("RUN", RUN);
        let argv: Vec<_> = line.split(' ').collect();
        [SnapshotRule::new(objects()).unwrap().judge(&argv), SendRule::new(objects()).unwrap().judge(&argv)]
    }

    fn allowed(line: &str) -> [bool; 2] {
        verdicts(line).map(|verdict| verdict == Verdict::Allowed)
    }

    #[test]
    fn each_stage_may_do_its_own_and_no_more() {
        let snapshot = "zfs snapshot -o reseed:run=RUN -o reseed:pipeline=p -o reseed:target=t";
        for line in [
            &format!("{snapshot} data/pgsql@reseed-RUN") as &str,
            &format!("{snapshot} data/pgsql@reseed-RUN data/all/x@reseed-RUN"),
            &format!("{} data/all/x@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
            "zfs destroy data/pgsql@reseed-RUN",
            "zfs hold reseed:t data/pgsql@reseed-RUN",
            "zfs release reseed:t data/pgsql@daily",
        ] {
            assert_eq!(allowed(line), [true, false], "{line}");
        }
        for line in [
            "zfs send data/pgsql@reseed-RUN",
            "zfs send -L -e -c -i data/pgsql@daily data/pgsql@reseed-RUN",
            "zfs send -n -P -w -i data/pgsql#mark data/pgsql@reseed-RUN",
        ] {
            assert_eq!(allowed(line), [false, true], "{line}");
        }
        for line in [
            "zfs",
            "zfs allow data/pgsql",
            "zfs get -Hp -o value guid data/pgsql@reseed-RUN",
            "zfs get -Hp -o name,property,value,source written@x data/pgsql",
            "zfs get -Hp -d 1 -o name,property,value,source guid,userrefs,reseed:target data/pgsql",
            "zfs get -Hp -d 1 -o name,property,value,source guid,userrefs,reseed:target data/pgsql data/all/wal",
            "zfs list -H -o name,origin,mountpoint,canmount,mounted -t filesystem,volume -r data",
        ] {
            assert_eq!(allowed(line), [true, true], "{line}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let snapshot = "zfs snapshot -o reseed:run=RUN -o reseed:pipeline=p -o reseed:target=t";
        for line in [
            "zfs destroy data/pgsql",
            "zfs destroy -r data/pgsql@reseed-RUN",
            "zfs destroy data/pgsql@daily",
            "zfs destroy data/pgsql@reseed-daily",
            "zfs destroy data/pgsql@reseed-RUN,reseed-RUN",
            "zfs destroy data/pgsql@%",
            "zfs destroy data/other@reseed-RUN",
            "zfs destroy data/pgsql/below@reseed-RUN",
            "zfs destroy data/pgsqlx@reseed-RUN",
            "zfs destroy data/../data/pgsql@reseed-RUN",
            "zfs rollback -r data/pgsql@reseed-RUN",
            "zfs rollback data/pgsql@reseed-RUN",
            "zfs promote data/pgsql",
            "zfs receive -F data/pgsql",
            "zfs receive data/pgsql/new",
            "zfs set mountpoint=/ data/pgsql",
            "zfs set reseed:target=x data/pgsql@reseed-RUN",
            "zfs inherit mountpoint data/pgsql",
            "zfs rename data/pgsql data/x",
            "zfs clone data/pgsql@reseed-RUN data/x",
            "zfs create data/x",
            "zfs mount data/pgsql",
            "zfs unmount data/pgsql",
            "zfs allow -u x send data/pgsql",
            "zfs unallow data/pgsql",
            "zfs hold keep data/pgsql@reseed-RUN",
            "zfs hold reseed:t data/pgsql@daily",
            "zfs hold -r reseed:t data/pgsql@reseed-RUN",
            "zfs release keep data/pgsql@reseed-RUN",
            "zfs send data/other@reseed-RUN",
            "zfs send data/pgsql@daily",
            "zfs send -R data/pgsql@reseed-RUN",
            "zfs send -i data/other@x data/pgsql@reseed-RUN",
            "zfs send -I data/pgsql@x data/pgsql@reseed-RUN",
            "zfs send -t token",
            "zfs send",
            "zfs get all data/pgsql",
            "zfs get -Hp -o value guid data/other",
            "zfs get -Hp -o name,property,value,source -r data/pgsql",
            "zfs get -Hp -d 1 -o name,property,value,source guid",
            "zfs get -Hp -d 1 -o name,property,value,source guid data/pgsql data/other",
            "zfs get -Hp -d 1 -o name,property,value,source guid data/pgsql -r",
            "zfs list",
            "zpool destroy data",
            "zfs snapshot data/pgsql@reseed-RUN",
            "zfs snapshot -o mountpoint=/ -o reseed:pipeline=p -o reseed:target=t data/pgsql@reseed-RUN",
            &format!("{snapshot} -o canmount=on data/pgsql@reseed-RUN") as &str,
            &format!("{snapshot} data/pgsql@mine"),
            &format!("{snapshot} data/pgsql@reseed-20261125t171234-ffffff"),
            &format!("{snapshot} data/pgsql@reseed-RUN data/other@reseed-RUN"),
            &format!("{} data/pgsql@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
            &format!("{} data@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
            snapshot,
        ] {
            assert_eq!(allowed(line), [false, false], "{line}");
        }
    }

    #[test]
    fn an_object_is_a_dataset() {
        for bad in ["", "/", "data/pgsql@x", "-r", "data//x", "data/$(id)"] {
            assert!(Datasets::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Datasets::new(vec![]).is_err());
    }

    /// What the stages really make, by the same functions that make it.
    #[test]
    fn what_the_crate_makes_is_what_the_rule_takes() {
        let name = format!("data/pgsql@{}", name::snapshot(RUN));
        let command = crate::zfs::Zfs::command(&["get", "-Hp", "-o", "value", "guid"], &[&name]).unwrap();
        let argv = command.argv("op", None);
        let argv: Vec<_> = argv.iter().map(String::as_str).collect();
        let datasets = Datasets::new(vec!["data/pgsql".to_owned(), "data/wal".to_owned()]).unwrap();
        assert_eq!(datasets.questions(&argv), Verdict::Allowed);
        let command = crate::zfs::Zfs::command(SNAPSHOTS, &["data/pgsql", "data/wal"]).unwrap();
        let argv = command.argv("op", None);
        let argv: Vec<_> = argv.iter().map(String::as_str).collect();
        assert_eq!(datasets.questions(&argv), Verdict::Allowed);
        assert_eq!(run_of(&name::snapshot(&reseed_core::run_id())).map(str::len), Some(RUN.len()));
        assert_eq!(tagged(&crate::prune::tag("standby:tank/x"), || Verdict::Allowed), Verdict::Allowed);
    }
}
