//! Watches over the WAL that a run's slots hold back on their source, until the run ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::config::Size;
use reseed_core::stage::{CheckCx, StageCx};
use reseed_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::session::{Column, Session};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// How long nothing may be known of the slots.
const BLIND: Duration = Duration::from_secs(120);
/// What is said then.
const UNSEEN: &str = "nobody sees whether the source still keeps the WAL for the run's replication slots";
/// How long the source may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The share of what the source keeps for slots that must be left, where nothing else is said.
const SHARE: u64 = 10;
/// No more than this must be left then, however much it keeps.
const ENOUGH: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// How much WAL a run's slots may hold back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowance {
    /// Bytes that the source must at least be able to write before it gives up the WAL of a slot.
    pub min_safe: Option<Size>,
    /// Bytes that a slot may at most hold back.
    pub max_held: Option<Size>,
}

impl Allowance {
    /// Refuses what no slot of this source could ever hold. `kept` is what the source keeps at most.
    pub(super) fn check(self, kept: Option<u64>, cx: &CheckCx) -> Result<()> {
        let Some(kept) = kept else { return Ok(()) };
        let least = self.least(Some(kept)).unwrap_or_default();
        if least >= kept {
            let (least, kept) = (mib(least), mib(kept));
            return Err(Error::refused(format!(
                "`min_safe_wal` is {least}, but the source keeps no more than {kept} of WAL for slots"
            ))
            .hint("raise max_slot_wal_keep_size on the source, or lower `min_safe_wal`"));
        }
        cx.note(format!(
            "the source keeps {} of WAL for the slot (max_slot_wal_keep_size); the run stops when less than {} is left",
            mib(kept),
            mib(least)
        ));
        Ok(())
    }

    fn least(self, kept: Option<u64>) -> Option<u64> {
        self.min_safe.map(Size::get).or(kept.map(|kept| (kept / SHARE).min(ENOUGH)))
    }
}

/// A slot as the source shows it.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: String,
    /// From 13 on.
    status: Option<String>,
    /// From 13 on, and only where the source has a limit.
    safe: Option<i64>,
    held: Option<i64>,
}

/// Watches these slots until the run ends; those of branches may go with their branch.
pub(crate) fn watch(
    cluster: &Arc<Cluster>,
    slots: &[(Option<String>, String)],
    allowance: Allowance,
    major: u32,
    cx: &StageCx,
) {
    if slots.is_empty() {
        return;
    }
    let guard = Guard { cluster: Arc::clone(cluster), slots: slots.to_vec(), allowance, major, cx: cx.clone() };
    cx.watch(|over| guard.run(over));
}

struct Guard {
    cluster: Arc<Cluster>,
    slots: Vec<(Option<String>, String)>,
    allowance: Allowance,
    major: u32,
    cx: StageCx,
}

impl Guard {
    async fn run(self, over: CancellationToken) -> Result<()> {
        let mut session = None;
        let danger = over.run_until_cancelled(self.danger(&mut session)).await;
        if let Some(session) = session {
            session.close().await;
        }
        danger.map_or(Ok(()), Err)
    }

    /// Resolves when a slot is in danger.
    async fn danger(&self, session: &mut Option<Session>) -> Error {
        let mut sight = Sight::default();
        loop {
            tokio::time::sleep(LOOK).await;
            let looked = tokio::time::timeout(PATIENCE, self.look(session)).await;
            let looked =
                looked.unwrap_or_else(|_| Err(Error::failed(format!("no answer for {} s", PATIENCE.as_secs()))));
            if looked.is_err() {
                *session = None;
            }
            match sight.judge(looked, Instant::now()) {
                Seeing::Danger(danger) => return danger,
                Seeing::Nothing(why) => self.cx.warn(format!("{UNSEEN}: {why}; the run stops if that lasts")),
                Seeing::Again => self.cx.note("the source tells of its replication slots again"),
                Seeing::AsBefore => {}
            }
        }
    }

    async fn look(&self, session: &mut Option<Session>) -> Result<Option<Error>> {
        let session = match session {
            Some(session) => session,
            None => session.insert(Session::connect(&self.cluster, "reseed guard").await?),
        };
        let (kept, seen) = (self.kept(session).await?, self.seen(session).await?);
        let least = self.allowance.least(kept);
        let dangers =
            self.slots.iter().filter_map(|(branch, name)| match seen.iter().find(|seen| seen.name == *name) {
                Some(slot) => danger(slot, least, self.allowance.max_held.map(Size::get)),
                // That of a branch goes when the branch is taken back.
                None if branch.as_ref().is_some_and(|branch| !self.cx.is_at_work(branch)) => None,
                None => {
                    let error = Error::failed(format!("the replication slot {name} has been dropped meanwhile"));
                    Some(error.hint("see who dropped it, and run it again"))
                }
            });
        Ok({ dangers }.next())
    }

    /// It may be changed while the server runs.
    async fn kept(&self, session: &Session) -> Result<Option<u64>> {
        Ok(kept_bytes(session.value(&format!("SELECT {KEPT}"), &[]).await?))
    }

    async fn seen(&self, session: &Session) -> Result<Vec<Seen>> {
        let names: Vec<&str> = self.slots.iter().map(|(_, name)| name.as_str()).collect();
        let sql = format!(
            "SELECT slot_name::text, {}, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN \
             coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END, \
             restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name::text = ANY($1)",
            if self.major >= 13 { "wal_status, safe_wal_size" } else { "NULL::text, NULL::bigint" }
        );
        let rows = session.rows(&sql, &[&names]).await?;
        let seen = |row: &tokio_postgres::Row| -> Result<Seen> {
            Ok(Seen { name: row.column(0)?, status: row.column(1)?, safe: row.column(2)?, held: row.column(3)? })
        };
        rows.iter().map(seen).collect()
    }
}

/// Whether the slots can be seen. That they can't is told, as is that they can be again, and after a while it
/// is danger enough: the source may just restart, but WAL that nobody sees may as well be gone.
#[derive(Debug, Default)]
struct Sight {
    lost: Option<Instant>,
}

/// What a look came to.
#[derive(Debug)]
enum Seeing {
    /// Nothing that was not told.
    AsBefore,
    /// Nothing can be seen from now on, and why.
    Nothing(String),
    /// The slots can be seen again.
    Again,
    /// The run must stop.
    Danger(Error),
}

impl Sight {
    fn judge(&mut self, looked: Result<Option<Error>>, now: Instant) -> Seeing {
        match (looked, self.lost) {
            (Ok(Some(danger)), _) => Seeing::Danger(danger),
            (Ok(None), None) => Seeing::AsBefore,
            (Ok(None), Some(_)) => {
                self.lost = None;
                Seeing::Again
            }
            (Err(unseen), None) => {
                self.lost = Some(now);
                Seeing::Nothing(unseen.chain())
            }
            (Err(unseen), Some(since)) if now.duration_since(since) >= BLIND => {
                let error = Error::failed(format!("{UNSEEN}, for {} s now", BLIND.as_secs())).because(unseen);
                Seeing::Danger(error.hint("see whether the source runs and can be reached, and run it again"))
            }
            (Err(_), Some(_)) => Seeing::AsBefore,
        }
    }
}

/// What a server keeps for slots, in MiB; `NULL` without a limit, and before 13.
pub(super) const KEPT: &str = "(SELECT setting::bigint FROM pg_settings \
                               WHERE name = 'max_slot_wal_keep_size' AND setting <> '-1')";

/// In bytes.
pub(super) fn kept_bytes(mebibytes: Option<i64>) -> Option<u64> {
    mebibytes.and_then(|kept| u64::try_from(kept).ok()).map(|kept| kept.saturating_mul(MIB))
}

/// Why the WAL of a slot is in danger, or the source's disk, if one is.
fn danger(slot: &Seen, least: Option<u64>, most: Option<u64>) -> Option<Error> {
    let name = &slot.name;
    let raise = "raise max_slot_wal_keep_size on the source, or run it when less is written";
    if let Some(status @ ("unreserved" | "lost")) = slot.status.as_deref() {
        let text =
            format!("the source gives up the WAL that the replication slot {name} holds back (wal_status {status})");
        return Some(Error::failed(text).hint(raise));
    }
    let safe = slot.safe.map(|safe| u64::try_from(safe).unwrap_or_default());
    if let (Some(safe), Some(least)) = (safe, least)
        && safe < least
    {
        let text = format!(
            "after {} more of WAL the source would give up what the replication slot {name} holds back, and the \
             run stops at {}",
            mib(safe),
            mib(least)
        );
        return Some(Error::failed(text).hint(raise));
    }
    let held = slot.held.and_then(|held| u64::try_from(held).ok())?;
    let most = most.filter(|most| held > *most)?;
    let text = format!(
        "the replication slot {name} holds back {} of WAL on the source, and `max_held_wal` allows {}",
        mib(held),
        mib(most)
    );
    Some(
        Error::failed(text)
            .hint("raise `max_held_wal` if the source has room for more, or run it when less is written"),
    )
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(status: &str, safe: Option<i64>, held: i64) -> Seen {
        Seen { name: "reseed_1".into(), status: Some(status.into()), safe, held: Some(held) }
    }

    fn said(slot: &Seen, least: Option<u64>, most: Option<u64>) -> String {
        danger(slot, least, most).map(|danger| danger.chain()).unwrap_or_default()
    }

    #[test]
    fn a_slot_with_room_is_in_no_danger() {
        assert_eq!(said(&slot("reserved", Some(200 << 20), 5 << 20), Some(100 << 20), Some(10 << 20)), "");
        assert_eq!(said(&slot("extended", None, 5 << 30), None, None), "");
        let old = Seen { name: "reseed_1".into(), held: Some(5), ..Seen::default() };
        assert_eq!(said(&old, None, Some(5)), "");
    }

    #[test]
    fn each_danger_is_named() {
        for status in ["unreserved", "lost"] {
            assert!(said(&slot(status, None, 0), None, None).contains(status));
        }
        let little = said(&slot("extended", Some(99 << 20), 0), Some(100 << 20), None);
        assert!(little.contains("after 99 MiB more") && little.contains("stops at 100 MiB"), "{little}");
        let much = said(&slot("reserved", None, 11 << 20), None, Some(10 << 20));
        assert!(much.contains("holds back 11 MiB") && much.contains("`max_held_wal` allows 10 MiB"), "{much}");
        assert!(!said(&slot("extended", Some(-7), 0), Some(1), None).is_empty(), "less than nothing is safe");
    }

    /// Whoever can't see the WAL does not say nothing, and does not wait for ever.
    #[test]
    fn a_source_that_tells_nothing_of_its_slots_is_told_and_ends_the_run_in_the_end() {
        let (mut sight, begun) = (Sight::default(), Instant::now());
        let blind = || Err(Error::failed("no route to it"));
        let mut judge = |looked, seconds| sight.judge(looked, begun + Duration::from_secs(seconds));
        assert!(matches!(judge(Ok(None), 0), Seeing::AsBefore));
        assert!(matches!(judge(blind(), 2), Seeing::Nothing(why) if why == "no route to it"));
        assert!(matches!(judge(blind(), 100), Seeing::AsBefore));
        assert!(matches!(judge(Ok(None), 102), Seeing::Again));
        assert!(matches!(judge(blind(), 104), Seeing::Nothing(_)));
        assert!(matches!(judge(blind(), 223), Seeing::AsBefore));
        let Seeing::Danger(danger) = judge(blind(), 224) else { panic!("no danger") };
        assert!(danger.chain().contains("for 120 s now: no route to it"), "{}", danger.chain());
        assert!(danger.hint_text().is_some());
        assert!(matches!(judge(Ok(Some(Error::failed("lost"))), 225), Seeing::Danger(_)));
    }

    #[test]
    fn a_tenth_of_what_is_kept_must_be_left_but_no_more_than_is_enough() {
        assert_eq!(Allowance::default().least(None), None);
        assert_eq!(Allowance::default().least(Some(640 << 20)), Some(64 << 20));
        assert_eq!(Allowance::default().least(Some(1 << 40)), Some(1 << 30));
        let own = Allowance { min_safe: Size::bytes(7), max_held: None };
        assert_eq!(own.least(Some(1 << 40)), Some(7));
    }
}
