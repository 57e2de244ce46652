//! What `zfs allow DATASET` tells about delegated rights.

use std::collections::{BTreeMap, BTreeSet};

/// Whom a right is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The user.
    pub(crate) user: String,
    /// The user's groups.
    pub(crate) groups: Vec<String>,
}

impl Rights {
    /// Which of `needed` the text of `zfs allow DATASET` does not give on that dataset itself.
    pub(crate) fn missing<'n>(&self, text: &str, dataset: &str, needed: &[&'n str]) -> Vec<&'n str> {
        let granted = self.granted(text, dataset);
        needed.iter().copied().filter(|right| !granted.contains(*right)).collect()
    }

    fn granted(&self, text: &str, dataset: &str) -> BTreeSet<String> {
        let (mut here, mut counts, mut in_sets) = (false, false, false);
        let mut granted = BTreeSet::new();
        let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            if let Some(on) = line.strip_prefix("---- Permissions on ") {
                here = on.trim_end_matches(['-', ' ']) == dataset;
            } else if !line.starts_with(['\t', ' ']) {
                in_sets = line.starts_with("Permission sets");
                counts = line.starts_with("Local+Descendent") || line.starts_with(if here { "Local " } else { "Desc" });
            } else if in_sets && let Some((set, rights)) = line.trim().split_once(' ') {
                sets.insert(set.to_owned(), rights.split(',').map(str::to_owned).collect());
            } else if counts && let Some(rights) = self.concerns(line.trim()) {
                granted.extend(rights.split(',').map(str::to_owned));
            }
        }
        let of_sets: Vec<_> = granted.iter().filter_map(|right| sets.get(right)).flatten().cloned().collect();
        granted.extend(of_sets);
        granted
    }

    /// The rights in a line such as `user zfssync send,hold`, if it is about this user.
    fn concerns<'l>(&self, line: &'l str) -> Option<&'l str> {
        let mut words = line.split_whitespace();
        let mine = match words.next()? {
            "everyone" => true,
            "user" => words.next()? == self.user,
            "group" => {
                let group = words.next()?;
                self.groups.iter().any(|mine| mine == group)
            }
            _ => false,
        };
        words.next().filter(|_| mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---- Permissions on tank/pg -------------------------------------------
Local permissions:
\tuser op rollback
Local+Descendent permissions:
\tuser op @send,snapshot
\tuser other destroy
---- Permissions on tank ----------------------------------------------
Permission sets:
\t@send send,hold
Local permissions:
\tuser op promote
Descendent permissions:
\tgroup dba mount
\teveryone userprop
";

    #[test]
    fn rights_come_from_the_dataset_and_from_above() {
        let op = Rights { user: "op".into(), groups: vec!["dba".into()] };
        let needed = ["snapshot", "send", "hold", "mount", "userprop", "rollback", "promote", "destroy"];
        assert_eq!(op.missing(TEXT, "tank/pg", &needed), ["promote", "destroy"]);
        let stranger = Rights { user: "x".into(), groups: vec![] };
        assert_eq!(stranger.missing(TEXT, "tank/pg", &["send", "userprop"]), ["send"]);
    }
}
