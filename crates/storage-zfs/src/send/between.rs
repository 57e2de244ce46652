//! The snapshots between the base and the one that is sent.

use crate::parse::Snapshot;

/// Those, oldest first. None where the base is a bookmark: `zfs send -I` takes a snapshot alone.
pub(super) fn between<'s>(mine: &'s [Snapshot], base: &Snapshot, sent: Option<&str>) -> Vec<&'s Snapshot> {
    let snapshots = || mine.iter().filter(|one| !one.is_bookmark());
    let newer = snapshots().skip_while(|one| one.name != base.name).skip(1);
    let newer = newer.take_while(|one| Some(one.guid.as_str()) != sent);
    // What is not there is no end: all would be between.
    match sent.is_none_or(|sent| snapshots().any(|one| one.guid == sent)) {
        true => newer.collect(),
        false => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_than_the_base_and_older_than_the_new_one_is_between() {
        let snapshot = |name: &str, guid: &str| Snapshot {
            name: format!("ta/a{name}"),
            guid: guid.into(),
            target: None,
            holds: 0,
        };
        let mine =
            [snapshot("@1", "a"), snapshot("@2", "b"), snapshot("@3", "c"), snapshot("@4", "d"), snapshot("#1", "a")];
        let names = |base: usize, sent: Option<&str>| {
            between(&mine, &mine[base], sent).into_iter().map(Snapshot::short).collect::<Vec<_>>()
        };
        assert_eq!(names(0, Some("d")), ["2", "3"]);
        assert_eq!(names(1, None), ["3", "4"]);
        assert!(names(2, Some("d")).is_empty() && names(0, Some("z")).is_empty());
        assert!(names(4, Some("d")).is_empty(), "a bookmark is no start of several");
    }
}
