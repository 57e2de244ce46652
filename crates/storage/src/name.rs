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

/// What a run calls its things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made<'n> {
    /// A snapshot, or a copy of one, and what its name says behind the run's id.
    Snapshot {
        /// The run.
        run: &'n str,
        /// What stands behind its id, such as a mark of the target.
        rest: &'n str,
    },
    /// A copy that waits to take the place of a volume, or something below it.
    Copy {
        /// The run.
        run: &'n str,
    },
    /// A volume that was live and stands aside.
    Aside {
        /// The run.
        run: &'n str,
        /// The name that it had.
        live: &'n str,
    },
}

impl<'n> Made<'n> {
    /// The run.
    pub fn run(&self) -> &'n str {
        match self {
            Self::Snapshot { run, .. } | Self::Copy { run } | Self::Aside { run, .. } => run,
        }
    }
}

/// What a run made that calls its things so; `None` for what others made, and for what lies below such a thing.
pub fn made(name: &str) -> Option<Made<'_>> {
    let id = |text: &'_ str| text.len() == RUN_ID && reseed_core::is_run_id(text);
    let short = last(name);
    if let Some(rest) = short.strip_prefix(PREFIX) {
        let (run, rest) = rest.split_at_checked(RUN_ID)?;
        return (id(run) && (rest.is_empty() || rest.starts_with('.'))).then_some(Made::Snapshot { run, rest });
    }
    let (head, run) = name.split_at_checked(name.len().checked_sub(RUN_ID)?)?;
    if !id(run) {
        return None;
    }
    match head.strip_suffix(ASIDE) {
        Some(live) => Some(Made::Aside { run, live }),
        None => head.strip_suffix(PREFIX)?.strip_suffix('-').map(|_| Made::Copy { run }),
    }
}

/// The length of a run's id.
const RUN_ID: usize = "00000000t000000-xxxxxx".len();

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
    fn what_a_run_made_is_told_by_its_name() {
        let run = "20260102t030405-00ab12";
        let snapshot = |rest| Some(Made::Snapshot { run, rest });
        assert_eq!(made(&format!("/b/.reseed/pg/reseed-{run}.0aa2f3c1")), snapshot(".0aa2f3c1"));
        assert_eq!(made(&snapshot_name(run)), snapshot(""));
        assert_eq!(made(&copy("/b/pg", run)), Some(Made::Copy { run }));
        assert_eq!(made(&aside("/b/pg", run)), Some(Made::Aside { run, live: "/b/pg" }));
        for other in ["/b/pg", "/b/pg-reseed-old-", "/b/reseed-daily", "/b/pg-reseed-20260102t030405-00ab1", "é"] {
            assert_eq!(made(other), None, "{other}");
        }
        for other in [format!("{}/wal", copy("/b/pg", run)), format!("/b/reseed-{run}x"), format!("/b/pg-old-{run}")] {
            assert_eq!(made(&other), None, "{other}");
        }
    }

    fn snapshot_name(run: &str) -> String {
        snapshot(run)
    }

    #[test]
    fn a_tree_is_told_by_whole_components() {
        assert_eq!(under("ta/a/b", "ta/a"), Some("/b"));
        assert_eq!(under("ta/ab", "ta/a"), None);
        assert_eq!((last("ta/a"), parent("ta/a"), parent("ta")), ("a", Some("ta"), None));
    }
}
