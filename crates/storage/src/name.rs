//! How the things of a run are called: every one carries the run's id, and can be told by it.

/// What every snapshot of reseed begins with.
pub const PREFIX: &str = "reseed-";
/// What stands between a live volume's name and the run's id in the name that it has aside.
pub const ASIDE: &str = "-reseed-old-";

/// The name of a run's snapshots.
pub fn snapshot(run: &str) -> String {
    format!("{PREFIX}{run}")
}

/// The name of a run's copy of a volume, beside it.
pub fn copy(volume: &str, run: &str) -> String {
    format!("{volume}-{PREFIX}{run}")
}

/// The name that a live volume has while it stands aside.
pub fn aside(volume: &str, run: &str) -> String {
    format!("{volume}{ASIDE}{run}")
}

/// The run that a snapshot of this name is of; `None` where reseed did not make it.
pub fn run_of(snapshot: &str) -> Option<&str> {
    snapshot.strip_prefix(PREFIX).filter(|run| reseed_core::is_run_id(run))
}

/// The last component of a volume's name.
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The volume above; `None` for a topmost one.
pub fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(parent, _)| parent)
}

/// What is left of `name` behind `above`, with the `/` in front, empty where they are the same;
/// `None` where `name` is not in that tree.
pub fn under<'n>(name: &'n str, above: &str) -> Option<&'n str> {
    name.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_makes_carries_its_id() {
        assert_eq!(snapshot("7"), "reseed-7");
        assert_eq!(copy("data/pg", "7"), "data/pg-reseed-7");
        let run = reseed_core::run_id();
        assert_eq!(run_of(&snapshot(&run)), Some(run.as_str()));
        assert_eq!((run_of("daily"), run_of("reseed-daily"), run_of("reseed-")), (None, None, None));
        assert_eq!(aside("/data/pg", "7"), "/data/pg-reseed-old-7");
    }

    #[test]
    fn a_tree_is_told_by_whole_components() {
        assert_eq!(under("ta/a/b", "ta/a"), Some("/b"));
        assert_eq!(under("ta/ab", "ta/a"), None);
        assert_eq!((last("ta/a"), parent("ta/a"), parent("ta")), ("a", Some("ta"), None));
    }
}
