//! WAL summaries of the source: an increment needs those of all WAL since its base, without a gap.

use reseed_core::Result;

use crate::lsn::Lsn;
use crate::session::{Column, Session};

/// Those that end behind `$2`, in their order as positions: as text, `0/10000000` is before `0/4000000`.
const SUMMARIES: &str = "SELECT s.start_lsn::text, s.end_lsn::text FROM pg_available_wal_summaries() s \
     WHERE s.tli = $1 AND s.end_lsn > $2::text::pg_lsn ORDER BY s.start_lsn";

/// The first position from `start` on of which the source has no summary although it has later ones.
pub(super) async fn gap(session: &Session, timeline: u32, start: Lsn) -> Result<Option<Lsn>> {
    let rows = session.rows(SUMMARIES, &[&i64::from(timeline), &start.to_string()]).await?;
    let mut ranges = Vec::with_capacity(rows.len());
    for row in &rows {
        let (from, to): (String, String) = (row.column(0)?, row.column(1)?);
        ranges.push((from.parse()?, to.parse()?));
    }
    Ok(first_gap(start, &ranges))
}

/// What comes behind the last one will be summarized when the backup asks for it.
fn first_gap(start: Lsn, ranges: &[(Lsn, Lsn)]) -> Option<Lsn> {
    let mut covered = start;
    for (from, to) in ranges {
        if *from > covered {
            return Some(covered);
        }
        covered = covered.max(*to);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_must_follow_each_other_from_the_base_on() {
        let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(a, b)| (Lsn(*a), Lsn(*b))).collect::<Vec<_>>();
        assert_eq!(first_gap(Lsn(10), &ranges(&[(5, 20), (20, 30)])), None);
        assert_eq!(first_gap(Lsn(10), &ranges(&[(10, 20), (25, 30)])), Some(Lsn(20)));
        assert_eq!(first_gap(Lsn(10), &ranges(&[(15, 20)])), Some(Lsn(10)));
        assert_eq!(first_gap(Lsn(10), &[]), None, "nothing has been summarized since");
    }
}
