//! Which of the two sound ways to snapshot is taken, or why neither is.

use reseed_core::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::facts::Mode;

/// How the snapshot is made sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Whichever fits the layout that is really there.
    #[default]
    Auto,
    /// One atomic snapshot of everything; PostgreSQL recovers as from a crash.
    Atomic,
    /// Backup mode, with a `backup_label` in the copy.
    Backup,
}

/// Why backup mode is not possible, and what would make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub what: String,
    pub hint: String,
}

/// What the choice depends on.
#[derive(Debug, Clone)]
pub(super) struct Situation<'a> {
    pub wish: Wish,
    /// Whether one atomic snapshot holds everything, and why, or why not.
    pub atomic: bool,
    pub reason: &'a str,
    /// Whether the content of `pg_wal` can be left out.
    pub wal_separate: bool,
    /// Whether a slot retains the WAL that would then be missing.
    pub slot: bool,
    pub obstacle: Option<Obstacle>,
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub mode: Mode,
    /// Whether the content of `pg_wal` is in the snapshot.
    pub wal_included: bool,
}

/// Chooses. Backup mode that leaves the WAL out moves the least, an atomic snapshot asks the least
/// of the server, backup mode works always.
pub(super) fn choose(situation: &Situation<'_>) -> Result<Choice> {
    let leaves_out = situation.wal_separate && situation.slot;
    let backup = Choice { mode: Mode::Backup, wal_included: !leaves_out };
    let atomic = Choice { mode: Mode::Atomic, wal_included: true };
    match (situation.wish, &situation.obstacle) {
        (Wish::Atomic, _) if situation.atomic => Ok(atomic),
        (Wish::Atomic, _) => Err(not_atomic(situation.reason)),
        (Wish::Backup, None) => Ok(backup),
        (Wish::Backup, Some(obstacle)) => Err(obstacle.refusal()),
        (Wish::Auto, None) if leaves_out => Ok(backup),
        (Wish::Auto, _) if situation.atomic => Ok(atomic),
        (Wish::Auto, None) => Ok(backup),
        (Wish::Auto, Some(obstacle)) => {
            let neither = format!("no sound snapshot is possible: {}", situation.reason);
            Err(obstacle.refusal().context(neither))
        }
    }
}

fn not_atomic(reason: &str) -> Error {
    let text = format!("`mode = \"atomic\"` needs one atomic snapshot of everything: {reason}");
    Error::refused(text).hint("leave `mode` out of pg-quiesce")
}

impl Obstacle {
    /// As an error.
    pub(super) fn refusal(&self) -> Error {
        Error::refused(self.what.clone()).hint(self.hint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Choice = Choice { mode: Mode::Atomic, wal_included: true };
    const FULL: Choice = Choice { mode: Mode::Backup, wal_included: true };
    const THIN: Choice = Choice { mode: Mode::Backup, wal_included: false };

    #[test]
    fn the_choice_follows_the_layout() {
        use Wish::{Atomic, Auto, Backup};
        // wish, atomic, pg_wal separate, slot, backup possible → choice
        let table = [
            (Auto, true, true, true, true, Some(THIN)),
            (Auto, false, true, true, true, Some(THIN)),
            (Auto, true, true, false, true, Some(WHOLE)),
            (Auto, true, false, true, true, Some(WHOLE)),
            (Auto, true, true, true, false, Some(WHOLE)),
            (Auto, false, false, true, true, Some(FULL)),
            (Auto, false, true, false, true, Some(FULL)),
            (Auto, false, true, true, false, None),
            (Atomic, true, true, true, true, Some(WHOLE)),
            (Atomic, true, false, false, false, Some(WHOLE)),
            (Atomic, false, true, true, true, None),
            (Backup, true, false, true, true, Some(FULL)),
            (Backup, true, true, true, true, Some(THIN)),
            (Backup, true, true, false, true, Some(FULL)),
            (Backup, true, true, true, false, None),
        ];
        for (wish, atomic, wal_separate, slot, possible, chosen) in table {
            let obstacle = (!possible).then(|| Obstacle { what: "no right".into(), hint: "GRANT".into() });
            let situation = Situation { wish, atomic, reason: "two pools", wal_separate, slot, obstacle };
            assert_eq!(choose(&situation).ok(), chosen, "{situation:?}");
        }
    }

    #[test]
    fn a_refusal_says_why_and_what_helps() {
        let obstacle = Some(Obstacle { what: "no right".into(), hint: "GRANT".into() });
        let situation = Situation {
            wish: Wish::Auto,
            atomic: false,
            reason: "two pools",
            wal_separate: true,
            slot: true,
            obstacle,
        };
        let error = choose(&situation).unwrap_err();
        assert_eq!(error.chain(), "no sound snapshot is possible: two pools: no right");
        assert_eq!(error.hint_text(), Some("GRANT"));
    }
}
