//! What stays and what goes: one policy for all storages.

use std::time::{SystemTime, UNIX_EPOCH};

use reseed_core::config::{BuildCx, Located, Problem};

/// How many snapshots stay, or a problem at its place in the file.
pub fn checked(keep: &Located<usize>, cx: &mut BuildCx<'_>) -> Option<usize> {
    if **keep == 0 {
        let problem = Problem::at(keep.span(), "the newest snapshot is always kept");
        cx.problem(problem.hint("1 keeps nothing but what the next increment starts from"));
        return None;
    }
    Some(**keep)
}

/// Of snapshots that reseed made for one target, the oldest first, those beyond the newest `keep`
/// that may go. At least one always stays.
pub fn surplus<T>(mine: Vec<T>, keep: usize, may_go: impl Fn(&T) -> bool) -> Vec<T> {
    let beyond = mine.len().saturating_sub(keep.max(1));
    mine.into_iter().take(beyond).filter(may_go).collect()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_what_is_needed_stays_too() {
        assert_eq!(surplus(vec![1, 2, 3, 4, 5], 2, |n| *n != 2), [1, 3]);
        assert_eq!(surplus(vec![1, 2], 0, |_| true), [1]);
        assert!(surplus(vec![1], 3, |_| true).is_empty());
    }
}
