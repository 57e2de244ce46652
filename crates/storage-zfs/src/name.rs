//! Names of datasets and snapshots, judged before they reach a command.

pub(crate) use reseed_storage::name::{ASIDE, PREFIX, aside, copy, last, parent, run_of, snapshot, under};

/// Longest name that every ZFS takes, in bytes.
const LONGEST: usize = 255;

/// Why a text is no name of a dataset, in words that go on after "`…` is no dataset:".
pub(crate) fn wrong_dataset(name: &str) -> Option<&'static str> {
    if name.contains(['@', '#']) {
        return Some("it names a snapshot");
    }
    wrong(name)
}

/// Why a text is no name of a dataset, a snapshot or a bookmark.
pub(crate) fn wrong(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return Some("it is longer than 255 bytes");
    }
    let (dataset, short) = match name.split_once(['@', '#']) {
        Some((dataset, short)) => (dataset, Some(short)),
        None => (name, None),
    };
    if !dataset.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("a pool's name begins with a letter");
    }
    dataset.split('/').chain(short).find_map(wrong_component)
}

/// ZFS itself allows a blank too; it is not taken here, since nothing that lists datasets for
/// people or scripts gets it right.
fn wrong_component(component: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match component {
        "" => Some("a part of it is empty"),
        "." | ".." => Some("`.` and `..` are no names"),
        part if part.starts_with('-') => Some("a part of it begins with `-`"),
        part if !part.chars().all(allowed) => Some("letters, digits and `-_.:` are allowed"),
        _ => None,
    }
}

/// The pool that a dataset or snapshot is in.
pub(crate) fn pool(name: &str) -> &str {
    name.split(['/', '@']).next().unwrap_or(name)
}

/// The deepest dataset that is above all of these, or one of them; `None` where they share no pool.
pub(crate) fn common_ancestor<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let mut names = names.into_iter();
    let first = names.next()?;
    names.try_fold(first, |mut common, name| {
        while under(name, common).is_none() {
            common = parent(common)?;
        }
        Some(common)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_zfs_takes_is_a_name() {
        for good in ["tank", "tank/pg_1/a-b.c:d", "tank/pg@reseed-2026", "tank/pg#mark"] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for bad in
            ["", "-r", "tank/-x", "tank//a", "tank/a b", "tank/$(id)", "/tank", "tank/a@b@c", "1tank", "t/..", "t@"]
        {
            assert!(wrong(bad).is_some(), "{bad}");
        }
        assert!(wrong_dataset("tank/pg@x").is_some());
    }

    #[test]
    fn the_common_ancestor_is_the_deepest() {
        assert_eq!(common_ancestor(["ta/a/b", "ta/a/c/d", "ta/a"]), Some("ta/a"));
        assert_eq!(common_ancestor(["ta/a", "ta/ab"]), Some("ta"));
        assert_eq!(common_ancestor(["ta/a", "tb/a"]), None);
    }
}
