//! What runs have left, found without their journals, and taken back.

use super::locks::{self, Holder};
use super::{Engine, check, undo_one};
use crate::event::Event;
use crate::journal::Book;
use crate::leftover::{Leftover, Scan};
use crate::report::Outcome;
use crate::stage::Run;
use crate::{Result, run_id};

impl Engine {
    /// Looks, read-only, what runs have left on the machines of this pipeline.
    ///
    /// # Errors
    /// When it is cancelled; what could not be looked at is in the answer.
    pub async fn scan(&self) -> Result<Scan> {
        let run = self.start(run_id(), Book::default());
        let mut scan = holders(&run).await;
        check::leftovers(&run, &mut scan).await?;
        Ok(scan)
    }

    /// Takes back what `choose` takes of what is found, each thing under its own deadline, while the
    /// targets of the pipeline are locked: what is found is looked at anew behind the locks. Gives what was
    /// found, and `stuck` where something could not be taken back. Where nothing of a run that died is left that
    /// `choose` calls open, the locks no longer tell of it.
    ///
    /// # Errors
    /// A refusal where a run is at work on a target or something could not be looked at: nothing was touched.
    pub async fn clear(&self, choose: impl Fn(&Scan, &Leftover) -> Choice) -> Result<(Scan, Outcome)> {
        let run = self.start(run_id(), Book::default());
        let mut scan = holders(&run).await;
        // The locks go on saying who has died, until that is over.
        let name = scan.died.first().unwrap_or(&run.id).clone();
        for (host, target) in locks::targets(&run.stages) {
            let dead = match locks::look(&host, &target).await? {
                Holder::Died(dead) => dead,
                Holder::Nobody | Holder::Live(_) => name.clone(),
            };
            run.locks.in_the_name_of(&dead, &host, &target).await?;
        }
        check::leftovers(&run, &mut scan).await?;
        if let Some(error) = scan.unseen.pop() {
            run.locks.release(scan.died.is_empty()).await;
            return Err(error.into_refusal().context("not everything could be looked at, and nothing was touched"));
        }
        let mut outcome = Outcome::Undone;
        for one in &scan.found {
            match choose(&scan, one) {
                Choice::Stays => {}
                Choice::Open => outcome = Outcome::Stuck,
                Choice::Goes => outcome = outcome.max(self.take_back(one).await),
            }
        }
        run.locks.release(outcome != Outcome::Stuck || scan.died.is_empty()).await;
        Ok((scan, outcome))
    }

    async fn take_back(&self, one: &Leftover) -> Outcome {
        match undo_one(one.undo.as_ref(), &self.stop_undo).await {
            Ok(()) => {
                self.observer.on(&Event::Undone { undo: one.undo.describe() });
                Outcome::Undone
            }
            Err(error) => {
                let (undo, by_hand) = (one.undo.describe(), one.undo.by_hand());
                self.observer.on(&Event::Stuck { undo, error: error.chain(), by_hand });
                Outcome::Stuck
            }
        }
    }
}

/// Who is at work, or has died, on what the pipeline changes.
async fn holders(run: &Run) -> Scan {
    let mut scan = Scan::default();
    for (host, target) in locks::targets(&run.stages) {
        match locks::look(&host, &target).await {
            Ok(Holder::Nobody) => {}
            Ok(Holder::Live(run)) => scan.live.push(run),
            Ok(Holder::Died(run)) => scan.died.push(run),
            Err(error) => scan.unseen.push(error.context(format!("the lock on the {target}"))),
        }
    }
    scan
}

/// What is done with something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is taken back.
    Goes,
    /// It stays.
    Stays,
    /// It stays, and somebody has to see to it.
    Open,
}
