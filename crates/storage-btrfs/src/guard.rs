//! Which commands a guard lets a sending machine be told: the rules `btrfs-snapshot` and `btrfs-send`.
//!
//! An object of `btrfs-snapshot` is `SUBVOLUME:DIRECTORY`, a subvolume and the directory of its snapshots;
//! one of `btrfs-send` is such a directory. What is deleted must be a snapshot that bears the id of a run.

use reseed_core::guard::{GuardRule, Rule, Verdict, looks_for, script};
use reseed_core::names::wrong_path;
use reseed_core::register_rule;
use reseed_storage::name::{parent, run_of, under};
use reseed_storage::{busy, directory};

use crate::btrfs::{MKDIR, SNAPSHOT, SURVEY};

/// Allows snapshots that bear the id of a run, and their end.
#[derive(Debug)]
struct SnapshotRule {
    /// Each subvolume and the directory of its snapshots.
    pairs: Vec<(String, String)>,
}

register_rule!(SnapshotRule);

impl GuardRule for SnapshotRule {
    const NAME: &'static str = crate::snapshot::NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        let pairs = objects.iter().map(|object| pair(object)).collect::<Result<Vec<_>, _>>()?;
        if pairs.is_empty() { Err("it needs `SUBVOLUME:DIRECTORY`".to_owned()) } else { Ok(Self { pairs }) }
    }
}

/// The object of a guard for a subvolume and the directory of its snapshots.
pub(crate) fn object(subvolume: &str, directory: &str) -> String {
    format!("{subvolume}:{directory}")
}

fn pair(object: &str) -> Result<(String, String), String> {
    let bad = || format!("`{}` is not written `SUBVOLUME:DIRECTORY`", object.escape_debug());
    let (subvolume, directory) = object.split_once(":/").ok_or_else(bad)?;
    let directory = format!("/{directory}");
    let is_path = |path: &str| (wrong_path(path).is_none()) && !path.contains(":/");
    if is_path(subvolume) && is_path(&directory) { Ok((subvolume.to_owned(), directory)) } else { Err(bad()) }
}

impl Rule for SnapshotRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        let refused = |path: &str| Verdict::Refused(format!("{} is not granted to this key", path.escape_debug()));
        let home = |path: &str| self.pairs.iter().any(|(_, directory)| under(directory, path).is_some());
        if busy::is_look(argv) {
            return Verdict::Allowed;
        }
        if let Some(path) = looks_for(argv) {
            return if home(path) { Verdict::Allowed } else { refused(path) };
        }
        match (script(argv, SNAPSHOT), script(argv, MKDIR), directory::removes_empty(argv)) {
            (Some([from, to, "-r"]), ..) => return if self.takes(from, to) { Verdict::Allowed } else { refused(to) },
            (Some(_), ..) => return Verdict::Refused("a source's snapshot is read-only".to_owned()),
            (_, Some([path]), _) => {
                let own = self.pairs.iter().any(|(_, directory)| directory == path);
                return if own { Verdict::Allowed } else { refused(path) };
            }
            (.., Some(paths)) => {
                return paths.iter().find(|path| !home(path)).map_or(Verdict::Allowed, |path| refused(path));
            }
            _ => {}
        }
        match argv {
            ["btrfs", "subvolume", "delete", path] => {
                if self.made(path) {
                    Verdict::Allowed
                } else {
                    refused(path)
                }
            }
            _ => questions(argv),
        }
    }
}

impl SnapshotRule {
    fn takes(&self, from: &str, to: &str) -> bool {
        self.pairs.iter().any(|(subvolume, directory)| subvolume == from && is_made_in(to, directory))
    }

    fn made(&self, path: &str) -> bool {
        self.pairs.iter().any(|(_, directory)| is_made_in(path, directory))
    }
}

/// Whether a path is that of a snapshot which reseed makes in this directory: the run, and a mark of the
/// target.
fn is_made_in(path: &str, directory: &str) -> bool {
    let name = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
    name.and_then(|name| name.rsplit_once('.')).is_some_and(|(name, mark)| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        run_of(name).is_some() && mark.len() == 8 && mark.bytes().all(hex)
    })
}

/// What both rules ask. Nothing in it changes anything or reads data of files.
fn questions(argv: &[&str]) -> Verdict {
    let about = |path: &str| Verdict::of(wrong_path(path).is_none(), || "it is about no plain path".to_owned());
    if let Some(args) = script(argv, SURVEY) {
        return match args {
            [path] => about(path),
            _ => Verdict::Refused("it is about one path".to_owned()),
        };
    }
    match argv {
        ["cat", "/proc/self/mountinfo"] => Verdict::Allowed,
        ["btrfs", "filesystem", "sync", path] => about(path),
        ["btrfs", "inspect-internal", "dump-tree", "-t", "root", device] if device.starts_with("/dev/") => {
            about(device)
        }
        ["btrfs", verb, ..] => Verdict::Refused(format!("`btrfs {verb}` in this form is none of what this key is for")),
        _ => Verdict::Unknown,
    }
}

/// Allows what is sent: snapshots that reseed made in these directories.
#[derive(Debug)]
struct SendRule(Vec<String>);

register_rule!(SendRule);

impl GuardRule for SendRule {
    const NAME: &'static str = crate::send::NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        match objects.iter().find(|path| wrong_path(path).is_some()) {
            Some(bad) => Err(format!("`{}` is no path that begins with `/`", bad.escape_debug())),
            None if objects.is_empty() => Err("it needs the directory of the snapshots".to_owned()),
            None => Ok(Self(objects)),
        }
    }
}

impl Rule for SendRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        let (base, snapshot) = match argv {
            ["btrfs", "send", snapshot] | ["btrfs", "send", "--no-data", snapshot] => (None, snapshot),
            ["btrfs", "send", "-p", base, snapshot] | ["btrfs", "send", "--no-data", "-p", base, snapshot] => {
                (Some(base), snapshot)
            }
            _ => return questions(argv),
        };
        let own =
            parent(snapshot).is_some_and(|in_| self.0.iter().any(|home| home == in_ && is_made_in(snapshot, home)));
        let plain = base.is_none_or(|base| wrong_path(base).is_none());
        Verdict::of(own && plain, || "only snapshots of reseed that are granted to this key are sent".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use reseed_core::host::Command;

    use super::*;

    const MADE: &str = "/top/.reseed/pg/reseed-20261125t171234-0a1b2c.01ab23cd";

    fn snapshots(argv: &[&str]) -> bool {
        SnapshotRule::new(vec!["/top/pg:/top/.reseed/pg".to_owned()]).unwrap().judge(argv) == Verdict::Allowed
    }

    fn sends(argv: &[&str]) -> bool {
        SendRule::new(vec!["/top/.reseed/pg".to_owned()]).unwrap().judge(argv) == Verdict::Allowed
    }

    fn script_of(text: &'static str, args: &[&str]) -> bool {
        let argv = Command::script(text).args(args.iter().copied()).argv("op", None);
        snapshots(&argv.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn each_stage_may_do_its_own() {
        assert!(script_of(SNAPSHOT, &["/top/pg", MADE, "-r"]));
        assert!(script_of(MKDIR, &["/top/.reseed/pg"]));
        assert!(script_of(SURVEY, &["/"]));
        assert!(snapshots(&["btrfs", "subvolume", "delete", MADE]));
        assert!(snapshots(&["test", "-e", "/top/.reseed"]));
        assert!(snapshots(&["btrfs", "filesystem", "sync", "/top/pg"]) && sends(&["cat", "/proc/self/mountinfo"]));
        assert!(sends(&["btrfs", "send", MADE]) && sends(&["btrfs", "send", "-p", "/top/old", MADE]));
        assert!(sends(&["btrfs", "send", "--no-data", "-p", "/top/old", MADE]));
        assert!(sends(&["btrfs", "inspect-internal", "dump-tree", "-t", "root", "/dev/vdb"]));
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(!script_of(SNAPSHOT, &["/top/pg", MADE]), "writable");
        assert!(!script_of(SNAPSHOT, &["/top/other", MADE, "-r"]));
        assert!(!script_of(SNAPSHOT, &["/top/pg", "/top/.reseed/pg/mine", "-r"]));
        assert!(!script_of(SNAPSHOT, &["/top/pg", "/top/.reseed/pg/../x", "-r"]));
        assert!(!script_of(MKDIR, &["/top/.reseed/pg/x"]) && !script_of(MKDIR, &["/etc"]));
        assert!(!script_of(SURVEY, &["/top/../etc"]) && !script_of(SURVEY, &[]));
        for argv in [
            &["btrfs", "subvolume", "delete", "/top/pg"][..],
            &["btrfs", "subvolume", "delete", "/top/.reseed/pg/mine"],
            &["btrfs", "subvolume", "delete", MADE, "/top/pg"],
            &["btrfs", "subvolume", "delete", "-R", MADE],
            &["btrfs", "receive", "/top"],
            &["btrfs", "property", "set", MADE, "ro", "false"],
            &["btrfs", "send", "-f", "/etc/cron.d/x", MADE],
            &["btrfs", "send", "/top/other/reseed-20261125t171234-0a1b2c.01ab23cd"],
            &["btrfs", "send", "-p", "--x", MADE],
            &["btrfs", "inspect-internal", "dump-tree", "-t", "root", "/etc/shadow"],
            &["btrfs", "inspect-internal", "dump-tree", "/dev/vdb"],
            &["cat", "/etc/shadow"],
            &["test", "-e", "/etc"],
        ] {
            assert!(!snapshots(argv) && !sends(argv), "{argv:?}");
        }
    }

    #[test]
    fn an_object_is_a_subvolume_and_a_directory() {
        for bad in ["", "/top/pg", "/top/pg:rel", "/a:/b:/c", "/a/../b:/c", "x:/c"] {
            assert!(SnapshotRule::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        assert_eq!(pair(&object("/top/pg", "/top/s")).unwrap(), ("/top/pg".to_owned(), "/top/s".to_owned()));
        let made = format!("/d/{}", crate::shared::snapshot_name(&reseed_core::run_id(), "t"));
        assert!(is_made_in(&made, "/d"));
    }
}
