//! What runs have left, found without their journals: by the run's id, which the name of everything carries
//! that outlives a run.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::undo::Undo;

/// Something that carries the id of a run.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// What sort of thing it is, for example `snapshot`.
    pub what: &'static str,
    /// Name of the host, cluster or repository that it is on.
    pub place: String,
    /// Its name there.
    pub name: String,
    /// The run.
    pub run: String,
    /// Whether it stays.
    pub stays: Stays,
    /// How it is taken back.
    pub undo: Arc<dyn Undo>,
}

/// Whether something stays, as far as the storage can tell; texts say why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// It does not where its run is dead.
    No,
    /// It does as long as nobody knows that its run is dead.
    Alive(String),
    /// It does by policy.
    Kept(String),
    /// A person has to look at it.
    Doubt(String),
}

/// What one stage found.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// What carries the id of a run, in the order in which it is to be taken back.
    pub found: Vec<Leftover>,
    /// Runs whose work is in use, and why that is known: nothing of them is taken back.
    pub in_use: Vec<(String, String)>,
}

/// What all stages of a pipeline found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// What carries the id of a run, in the order in which it is to be taken back.
    pub found: Vec<Leftover>,
    /// Runs whose work is in use, and why that is known.
    pub in_use: Vec<(String, String)>,
    /// Runs that have died on what the pipeline changes, as the locks there tell.
    pub died: Vec<String>,
    /// Runs that are at work on what the pipeline changes, as the locks there tell.
    pub live: Vec<String>,
    /// What could not be looked at, and why. As long as there is something, nothing is taken back.
    pub unseen: Vec<crate::Error>,
}

/// What is known here of a run from its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// It is alive.
    Live,
    /// It is not at its end: its journal takes it there.
    Open,
    /// It is at its end.
    Ended,
}

/// What is to become of something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to a run that is dead and left no journal.
    Left,
    /// It stays, and why.
    Kept(String),
    /// It belongs to a dead run, and a person has to decide about it.
    Doubt(String),
    /// It belongs to a run of which nothing is known here: it may be another target's.
    Unclear,
}

impl Leftover {
    /// When its run began, as its id says.
    pub fn since(&self) -> Option<Timestamp> {
        let time = DateTime::strptime("%Y%m%dt%H%M%S", self.run.get(..15)?).ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    }
}

impl Scan {
    /// Adds what a stage found. What two stages find is one thing.
    pub(crate) fn add(&mut self, told: Leftovers) {
        let known = |found: &[Leftover], one: &Leftover| {
            found.iter().any(|known| (known.what, &known.place, &known.name) == (one.what, &one.place, &one.name))
        };
        for one in told.found {
            if !known(&self.found, &one) {
                self.found.push(one);
            }
        }
        self.in_use.extend(told.in_use);
    }

    /// What is to become of something. `known` is what its run's journal says, `named` whether somebody has
    /// said that its run is dead.
    pub fn judge(&self, one: &Leftover, known: Known, named: bool) -> Verdict {
        if known == Known::Live || self.live.contains(&one.run) {
            return Verdict::Kept("its run is alive".to_owned());
        }
        if known == Known::Open {
            return Verdict::Kept("its run has a journal: `reseed recover`".to_owned());
        }
        if let Some((_, why)) = self.in_use.iter().find(|(run, _)| *run == one.run) {
            return Verdict::Kept(why.clone());
        }
        let dead = named || (known == Known::Nothing && self.died.contains(&one.run));
        match &one.stays {
            Stays::Kept(why) => Verdict::Kept(why.clone()),
            Stays::Doubt(why) if dead => Verdict::Doubt(why.clone()),
            _ if dead => Verdict::Left,
            Stays::Alive(why) => Verdict::Kept(why.clone()),
            _ if known == Known::Ended => Verdict::Kept("its run has ended, and left it".to_owned()),
            _ => Verdict::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;

    #[derive(Debug)]
    struct Nothing;

    #[async_trait]
    impl Undo for Nothing {
        fn describe(&self) -> String {
            "destroy".to_owned()
        }

        fn by_hand(&self) -> String {
            "rm".to_owned()
        }

        async fn undo(&self) -> crate::Result<()> {
            Ok(())
        }
    }

    fn newest() -> Leftover {
        leftover(Stays::Alive("the newest".into()))
    }

    fn leftover(stays: Stays) -> Leftover {
        Leftover {
            what: "snapshot",
            place: "primary".into(),
            name: "reseed-20260102t030405-00ab12".into(),
            run: "20260102t030405-00ab12".into(),
            stays,
            undo: Arc::new(Nothing),
        }
    }

    fn scan(one: &Leftover) -> Scan {
        Scan { died: vec![one.run.clone()], ..Scan::default() }
    }

    #[test]
    fn only_what_is_of_a_dead_run_and_nobodys_is_left() {
        let one = newest();
        assert_eq!(scan(&one).judge(&one, Known::Nothing, false), Verdict::Left);
        for known in [Known::Live, Known::Open, Known::Ended] {
            assert!(matches!(scan(&one).judge(&one, known, false), Verdict::Kept(_)), "{known:?}");
        }
        let nobody = Scan::default();
        assert_eq!(nobody.judge(&one, Known::Nothing, false), Verdict::Kept("the newest".into()));
        assert_eq!(nobody.judge(&leftover(Stays::No), Known::Nothing, false), Verdict::Unclear);
    }

    #[test]
    fn who_names_a_run_is_believed_but_not_against_what_is_seen() {
        let one = newest();
        let nobody = Scan::default();
        assert_eq!(nobody.judge(&one, Known::Nothing, true), Verdict::Left);
        assert_eq!(nobody.judge(&one, Known::Ended, true), Verdict::Left);
        for known in [Known::Live, Known::Open] {
            assert!(matches!(nobody.judge(&one, known, true), Verdict::Kept(_)), "{known:?}");
        }
        let live = Scan { live: vec![one.run.clone()], ..Scan::default() };
        assert!(matches!(live.judge(&one, Known::Nothing, true), Verdict::Kept(_)));
        let used = Scan { in_use: vec![(one.run.clone(), "it serves".into())], ..scan(&one) };
        assert_eq!(used.judge(&one, Known::Nothing, true), Verdict::Kept("it serves".into()));
        let dated = leftover(Stays::Kept("until noon".into()));
        assert_eq!(scan(&dated).judge(&dated, Known::Nothing, true), Verdict::Kept("until noon".into()));
        let aside = leftover(Stays::Doubt("who knows".into()));
        assert_eq!(scan(&aside).judge(&aside, Known::Nothing, false), Verdict::Doubt("who knows".into()));
        assert_eq!(nobody.judge(&aside, Known::Nothing, false), Verdict::Unclear);
    }

    #[test]
    fn a_run_tells_since_when() {
        assert_eq!(leftover(Stays::No).since().unwrap().to_string(), "2026-01-02T03:04:05Z");
    }
}
