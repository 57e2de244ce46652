//! Which states are kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// States that are kept of each dataset, with all that their restore needs. The newest stays in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// So many of the newest.
    #[serde(default)]
    pub last: u32,
    /// The newest of each day, for so many days that have one. Days are those of UTC.
    #[serde(default)]
    pub daily: u32,
    /// The newest of each week, for so many weeks that have one. Weeks begin on Monday.
    #[serde(default)]
    pub weekly: u32,
    /// The newest of each month, for so many months that have one.
    #[serde(default)]
    pub monthly: u32,
}

impl Keep {
    /// Of states made at these times, the newest first, the indexes of those that are kept.
    pub(super) fn of(&self, created: &[u64], now: u64) -> BTreeSet<usize> {
        let last = usize::try_from(self.last).unwrap_or(usize::MAX).max(1);
        let mut kept: BTreeSet<_> = (0..created.len().min(last)).collect();
        let dates: Vec<_> =
            created.iter().map(|at| date(*at).unwrap_or_else(|| date(now).unwrap_or_default())).collect();
        kept.extend(newest_of_each(&dates, self.daily, |date| date));
        kept.extend(newest_of_each(&dates, self.weekly, |date| {
            (date.iso_week_date().year(), date.iso_week_date().week())
        }));
        kept.extend(newest_of_each(&dates, self.monthly, |date| (date.year(), date.month())));
        kept
    }
}

fn newest_of_each<P: PartialEq>(dates: &[Date], most: u32, period: impl Fn(Date) -> P) -> Vec<usize> {
    let periods: Vec<_> = dates.iter().map(|date| period(*date)).collect();
    let is_first = |index: &usize| *index == 0 || periods[*index] != periods[*index - 1];
    (0..dates.len()).filter(is_first).take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
}

fn date(at: u64) -> Option<Date> {
    let at = Timestamp::from_second(i64::try_from(at).ok()?).ok()?;
    Some(Offset::UTC.to_datetime(at).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    /// Monday, 5 January 2026, noon.
    const MONDAY: u64 = 1_767_614_400;

    fn kept(keep: Keep, created: &[u64]) -> Vec<usize> {
        keep.of(created, MONDAY).into_iter().collect()
    }

    #[test]
    fn the_newest_stays_whatever_is_said() {
        assert_eq!(kept(Keep::default(), &[MONDAY, MONDAY - 1]), [0]);
        assert_eq!(kept(Keep::default(), &[]), [0; 0]);
        assert_eq!(kept(Keep { last: 2, ..Keep::default() }, &[MONDAY, MONDAY - 1, MONDAY - 2]), [0, 1]);
    }

    #[test]
    fn the_newest_of_each_day_week_and_month_stays() {
        // Every six hours, for 80 days back.
        let all: Vec<_> = (0..320).map(|n| MONDAY - n * DAY / 4).collect();
        assert_eq!(kept(Keep { daily: 3, ..Keep::default() }, &all), [0, 3, 7]);
        // Sunday evening of the week before, and the one before that.
        assert_eq!(kept(Keep { weekly: 3, ..Keep::default() }, &all), [0, 3, 31]);
        // 31 December and 30 November, 18:00.
        assert_eq!(kept(Keep { monthly: 3, ..Keep::default() }, &all), [0, 19, 143]);
        let both = Keep { last: 2, daily: 2, weekly: 2, monthly: 2 };
        assert_eq!(kept(both, &all), [0, 1, 3, 19]);
    }
}
