//! What a guard lets the primary's machine be told for `pg-quiesce`: the questions about its directories,
//! and, where a copy is kept, its WAL. The server itself is asked over its own protocol.
//!
//! An object is a directory: the data directory, where `pg_wal` leads, a tablespace.

use reseed_core::guard::{GuardRule, Rule, Verdict, reads, resolves, script};
use reseed_core::names::wrong_path;
use reseed_core::register_rule;

use super::survey::Surveyed;
use super::{layout, quiesce, wal};

/// Letters of a segment's name: timeline, log and segment.
const SEGMENT: usize = 24;

/// The directories of a server that was surveyed, as it tells them and as they really are.
pub(super) fn objects(surveyed: &Surveyed) -> Vec<String> {
    let is = &surveyed.source.layout;
    let told = surveyed.server.data_directory.iter().chain(surveyed.server.tablespaces.iter().map(|(_, path)| path));
    let real = [&is.data_directory].into_iter().chain(&is.wal_directory);
    let mut all: Vec<_> = told.chain(real).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Allows to look at directories, and to read two files and the WAL of a cluster.
#[derive(Debug)]
struct QuiesceRule(Vec<String>);

register_rule!(QuiesceRule);

impl GuardRule for QuiesceRule {
    const NAME: &'static str = quiesce::NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        match objects.iter().find(|path| wrong_path(path).is_some()) {
            Some(bad) => Err(format!("`{}` is no path that begins with `/`", bad.escape_debug())),
            None if objects.is_empty() => Err("it needs the data directory: `RULE=/path`".to_owned()),
            None => Ok(Self(objects)),
        }
    }
}

impl Rule for QuiesceRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        let allowed = |path: &str, allowed: bool| {
            Verdict::of(allowed, || format!("{} is not granted to this key", path.escape_debug()))
        };
        if let Some(path) = reads(argv) {
            return allowed(
                path,
                self.is_file_of(path, "postmaster.pid") || self.is_file_of(path, "global/pg_control"),
            );
        }
        if let Some(path) = resolves(argv) {
            return allowed(path, self.has(path));
        }
        for (text, may) in [
            (layout::INSPECT, Self::has as fn(&Self, &str) -> bool),
            (wal::LOOK, Self::has_wal),
            (wal::READ, Self::has_segment),
        ] {
            match script(argv, text) {
                Some([path]) => return allowed(path, may(self, path)),
                Some(_) => return Verdict::Refused("it is about one path".to_owned()),
                None => {}
            }
        }
        Verdict::Unknown
    }
}

impl QuiesceRule {
    fn has(&self, path: &str) -> bool {
        self.0.iter().any(|granted| granted == path)
    }

    fn is_file_of(&self, path: &str, name: &str) -> bool {
        path.strip_suffix(name).and_then(|rest| rest.strip_suffix('/')).is_some_and(|directory| self.has(directory))
    }

    fn has_wal(&self, path: &str) -> bool {
        self.has(path) || self.is_file_of(path, "pg_wal")
    }

    fn has_segment(&self, path: &str) -> bool {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        let segment = |name: &str| name.len() == SEGMENT && name.bytes().all(hex);
        path.rsplit_once('/').is_some_and(|(directory, name)| self.has_wal(directory) && segment(name))
    }
}

#[cfg(test)]
mod tests {
    use reseed_core::host::Command;

    use super::*;

    fn verdict(command: &Command) -> Verdict {
        let rule = QuiesceRule::new(vec!["/d/pg data".to_owned(), "/wal".to_owned()]).unwrap();
        rule.judge(&command.argv("op", None).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn ask(text: &'static str, path: &str) -> Verdict {
        verdict(&Command::script(text).arg(path))
    }

    #[test]
    fn the_granted_directories_may_be_looked_at() {
        for (text, path) in [
            (layout::INSPECT, "/d/pg data"),
            (wal::LOOK, "/d/pg data/pg_wal"),
            (wal::LOOK, "/wal"),
            (wal::READ, "/wal/0000000100000000000000A1"),
            (wal::READ, "/d/pg data/pg_wal/0000000100000000000000A1"),
        ] {
            assert_eq!(ask(text, path), Verdict::Allowed, "{path}");
        }
    }

    #[test]
    fn no_other_file_is_read() {
        for (text, path) in [
            (layout::INSPECT, "/etc"),
            (layout::INSPECT, "/d/pg data/.."),
            (wal::LOOK, "/etc"),
            (wal::READ, "/etc/shadow"),
            (wal::READ, "/wal/../etc/shadow"),
            (wal::READ, "/wal/0000000100000000000000a1"),
        ] {
            assert!(matches!(ask(text, path), Verdict::Refused(_)), "{path}");
        }
        assert_eq!(verdict(&Command::new("cat").arg("/etc/shadow")), Verdict::Unknown);
        assert!(matches!(verdict(&Command::script(wal::READ)), Verdict::Refused(_)));
    }

    #[test]
    fn an_object_is_a_plain_path() {
        for bad in ["", "d", "/d/../e", "/d/", "/d\n"] {
            assert!(QuiesceRule::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(QuiesceRule::new(vec![]).is_err());
    }
}
