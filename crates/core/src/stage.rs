//! Stages: the one trait that the engine runs, and what a stage may ask of its run.

mod adapters;
mod around;
mod arrivals;
mod board;
mod context;
mod holdings;
mod limited;
mod meters;
mod run;
mod watchers;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use adapters::{Filter, FilterStage, Sink, SinkStage, Source, SourceStage, Transport, TransportStage};
pub(crate) use adapters::{receive, report_received, unexpected};
pub use around::{Around, AroundStage};
pub use board::Board;
pub use context::{CheckCx, StageCx};
pub use holdings::{CutOff, Holding, Holdings};
pub(crate) use limited::Limited;
pub use meters::{Flowing, Meters};
pub use run::{Ahead, Run};

use crate::guard::Grant;
use crate::host::Host;
use crate::item::{Item, SnapshotPart};
use crate::leftover::Leftovers;
use crate::{Error, Kind, Mismatch, Result};

/// What a stage needs for itself while the run lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What sort of thing it is, for example `dataset`.
    pub what: &'static str,
    /// Name of the host that it is on.
    pub host: String,
    /// Its name there.
    pub name: String,
}

/// One of the ways on which a pipeline goes on after a stage that parts it.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name: small letters, digits and `-`.
    pub name: String,
    /// Its stages.
    pub stages: Vec<Arc<dyn Stage>>,
}

/// One step of a pipeline.
///
/// The order of calls is `flow` and `claims` (pure, before anything), then `scout` and `survey` of every
/// stage, then `check` of every stage, then `run` of every stage. Only `run` may change anything.
#[async_trait]
pub trait Stage: Debug + Send + Sync {
    /// The stage's name as in a pipeline file.
    fn name(&self) -> &str;

    /// What comes out for what goes in. Pure.
    ///
    /// # Errors
    /// When the stage can't take this kind.
    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>>;

    /// How long it may work; a stage that gives streams, until the last of them was taken. Set by the
    /// pipeline file, for every stage alike. Pure.
    fn limit(&self) -> Option<Duration> {
        None
    }

    /// Whether it can take part in rounds before the run proper, see [`CheckCx::approaching`]. Pure.
    fn approaches(&self) -> bool {
        false
    }

    /// What only one stage of a run may work on. Pure.
    fn claims(&self) -> Vec<Claim> {
        vec![]
    }

    /// What it changes for good on its [`host`](Self::host), so that no other run may work on it meanwhile:
    /// it is locked there before the run asks anything. Pure.
    fn locks(&self) -> Vec<Claim> {
        vec![]
    }

    /// The machine that it works on, where it works on one.
    fn host(&self) -> Option<Arc<dyn Host>> {
        None
    }

    /// Whether it brings streams from one machine to another. Pure.
    fn carries(&self) -> bool {
        false
    }

    /// The branches into which it parts the pipeline. The engine surveys and checks them right after
    /// this stage; they run inside of it, and nothing but it drives them. No stage may follow it.
    fn branches(&self) -> &[Branch] {
        &[]
    }

    /// Asks ahead, read-only, what takes time and depends on no other stage, and keeps the answers for
    /// this stage's own survey: on the board, or in itself. All stages scout side by side, while those in
    /// front of them are surveyed; a stage is surveyed when it has scouted. What can't be found out here
    /// is not told: the survey asks again, and so it does where nobody scouted.
    async fn scout(&self, _cx: &CheckCx) {}

    /// Finds out, read-only, what this and other stages need to know, puts it on the board and
    /// notes what a person should see in a plan.
    ///
    /// # Errors
    /// When it can't find out; counts as a refusal. The other stages are surveyed all the same, so what
    /// this one needs of an earlier one is asked for by [`Board::need`].
    async fn survey(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }

    /// Judges, read-only, whether `run` can succeed. Every survey is done by then; this one's went well,
    /// another's may not have. All stages check side by side: none waits for what another's check finds out.
    ///
    /// # Errors
    /// A refusal, with what would mend it as the hint.
    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }

    /// What the target holds already of these datasets, if this stage is the one that knows.
    ///
    /// # Errors
    /// When the target can't be asked.
    async fn holds(&self, _wanted: &[SnapshotPart], _cx: &CheckCx) -> Result<Option<Holdings>> {
        Ok(None)
    }

    /// What a key that leads to the machines of this stage must be granted there, see [`guard`](crate::guard).
    /// Asked after every survey.
    ///
    /// # Errors
    /// A refusal, by default that of a stage that works on another machine and has no rule.
    async fn grants(&self, _cx: &CheckCx) -> Result<Vec<Grant>> {
        match self.host().filter(|host| !host.is_local()) {
            Some(host) => Err(no_rule(self.name(), host.as_ref())),
            None => Ok(vec![]),
        }
    }

    /// Snapshots of these datasets whose streams an earlier run began to keep and did not end, if this
    /// stage is one that could go on with them and the run wants it to. Read-only, asked while surveying.
    ///
    /// # Errors
    /// When what was kept can't be looked at.
    async fn unfinished(&self, _datasets: &[&str], _cx: &CheckCx) -> Result<Option<Vec<SnapshotPart>>> {
        Ok(None)
    }

    /// Names of the targets for which something is kept on the stage's machine, as
    /// [`forget`](Self::forget) takes them. Read-only.
    ///
    /// # Errors
    /// When the machine can't be asked.
    async fn targets(&self) -> Result<Vec<String>> {
        Ok(vec![])
    }

    /// Lets go of everything that is kept for a target that is gone for good, whether or not that one
    /// can be reached. Never part of a run; done twice, the second time does nothing. Gives what was done,
    /// one line each.
    ///
    /// # Errors
    /// When something that could go is still there.
    async fn forget(&self, _target: &str) -> Result<Vec<String>> {
        Ok(vec![])
    }

    /// What runs have left where this stage works, found without a journal, read-only. Asked after every
    /// survey, also where one of them went wrong: what this needs of a survey and does not find, it asks
    /// itself, or fails.
    ///
    /// # Errors
    /// When it can't look: then nobody may be told that nothing is there.
    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        Ok(Leftovers::default())
    }

    /// Does the work. Whatever it leaves behind is armed in `cx` first. A stage that gives streams
    /// gives lazy ones and returns at once; the sink drives them.
    ///
    /// # Errors
    /// When it fails; the engine then takes back what was armed.
    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item>;
}

pub(crate) fn no_rule(stage: &str, host: &dyn Host) -> Error {
    let text = format!("there is no rule by which a guard on {} could judge what {stage} does there", host.name());
    Error::refused(text).hint("a guard is for the key of a machine that sends; run reseed on the one that is changed")
}
