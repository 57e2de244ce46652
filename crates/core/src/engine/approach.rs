//! Rounds before a run: whole increments without what a source must hold back for a standby, until the
//! next one is small.

use crate::event::Event;
use crate::item::Outlook;
use crate::report::Round;
use crate::stage::Run;

/// When a run is preceded by rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approach {
    /// Bytes: an increment that is no larger is left to the run itself.
    pub until: u64,
    /// How many rounds there may be at most; none with 0.
    pub rounds: u32,
    /// Whether there are rounds although nobody can say beforehand how much will be sent.
    pub blindly: bool,
}

impl Default for Approach {
    fn default() -> Self {
        Self { until: 1 << 30, rounds: 5, blindly: false }
    }
}

/// The rounds of one call.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    approach: Option<Approach>,
    done: Vec<Round>,
}

impl Rounds {
    pub(super) fn of(approach: Option<Approach>) -> Self {
        Self { approach, done: vec![] }
    }

    /// Whether the run that was just checked is to be another round.
    pub(super) fn another(&self, run: &Run) -> bool {
        let Some(approach) = self.approach.filter(|approach| self.done.len() < approach.rounds as usize) else {
            return false;
        };
        let outlook = run.board.get::<Outlook>();
        let bytes = outlook.as_ref().and_then(|outlook| outlook.bytes);
        let whole = outlook.is_some_and(|outlook| outlook.whole);
        let next = match (bytes, self.done.as_slice()) {
            (Some(bytes), _) => bytes,
            // What comes after the whole, nobody knows; what comes after an increment is about as much.
            (None, []) => return approach.blindly && whole,
            (None, [_]) => return true,
            (None, [.., last]) => last.stream_bytes,
        };
        let shrinks = match self.done.as_slice() {
            [.., before, last] => last.stream_bytes < before.stream_bytes / 10 * 9,
            _ => true,
        };
        next > approach.until && shrinks
    }

    /// A round is done and committed.
    pub(super) fn done(&mut self, run: &Run) {
        let report = run.reported();
        let round = Round {
            run: run.id.clone(),
            full: report.full,
            stream_bytes: run.meters.stream.bytes(),
            to_guid: report.to_guid.clone(),
        };
        run.observer.on(&Event::Approached(round.clone()));
        self.done.push(round);
    }

    pub(super) fn are_none(&self) -> bool {
        self.done.is_empty()
    }

    pub(super) fn into_reports(self) -> Vec<Round> {
        self.done
    }
}
