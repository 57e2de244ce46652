//! Stages in order, and whether they fit together.

use std::sync::Arc;
use std::time::Duration;

use super::approach::Approach;
use crate::stage::{Claim, Stage};
use crate::{Kind, Mismatch};

/// Stages in order, under a name.
#[derive(Debug, Clone)]
pub struct Pipeline {
    name: String,
    stages: Vec<Arc<dyn Stage>>,
    stall: Option<Duration>,
    approach: Option<Approach>,
}

/// How long no byte may move while a stream flows, where nothing else is said.
pub(crate) const STALL: Duration = Duration::from_secs(600);

/// Why a pipeline can't be one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// A stage can't follow the one before it.
    Kind {
        /// Position of the stage, from 0.
        index: usize,
        /// What does not fit.
        mismatch: Box<Mismatch>,
    },
    /// Two stages want the same thing for themselves.
    Claim {
        /// Positions of the two stages.
        indexes: (usize, usize),
        /// What they both want.
        claim: Claim,
    },
    /// The last stage gives something that is no end of a pipeline.
    End {
        /// What it gives.
        kind: Kind,
    },
}

impl Pipeline {
    /// A pipeline of these stages.
    pub fn new(name: impl Into<String>, stages: Vec<Arc<dyn Stage>>) -> Self {
        Self { name: name.into(), stages, stall: Some(STALL), approach: Some(Approach::default()) }
    }

    /// Sets how long no byte may move while a stream flows before the run fails; `None`: for ever.
    pub fn stall(mut self, stall: Option<Duration>) -> Self {
        self.stall = stall;
        self
    }

    /// See [`stall`](Self::stall).
    pub fn stall_limit(&self) -> Option<Duration> {
        self.stall
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its stages.
    pub fn stages(&self) -> &[Arc<dyn Stage>] {
        &self.stages
    }

    /// Sets when the run is preceded by rounds; `None`: never.
    pub fn approach(mut self, approach: Option<Approach>) -> Self {
        self.approach = approach;
        self
    }

    /// See [`approach`](Self::approach).
    pub fn approach_of(&self) -> Option<Approach> {
        self.approach
    }

    /// Where a round before the run would end: at the stage that makes a dataset of streams, if every
    /// stage up to it can take part in rounds.
    pub fn receiver(&self) -> Option<usize> {
        let mut kind = Kind::Start;
        for (index, stage) in self.stages.iter().enumerate() {
            let gives = stage.flow(&kind).ok().filter(|_| stage.approaches() && stage.branches().is_empty())?;
            if matches!((&kind, &gives), (Kind::Stream(_), Kind::Dataset(_))) {
                return Some(index);
            }
            kind = gives;
        }
        None
    }

    /// The kind after each stage. Pure.
    ///
    /// # Errors
    /// Every mismatch and every claim that two stages make, all at once.
    pub fn fold(&self) -> Result<Vec<Kind>, Vec<Misfit>> {
        let mut misfits = self.contested();
        let mut kinds = Vec::with_capacity(self.stages.len());
        let mut kind = Kind::Start;
        for (index, stage) in self.stages.iter().enumerate() {
            let parted = self.stages[..index].iter().find(|before| !before.branches().is_empty());
            let flow = match parted {
                Some(before) => Err(behind_branches(before.name(), &kind)),
                None => stage.flow(&kind),
            };
            kind = flow.unwrap_or_else(|mismatch| {
                let gives = mismatch.gives.clone();
                misfits.push(Misfit::Kind { index, mismatch });
                gives
            });
            kinds.push(kind.clone());
        }
        if !kind.is_end() && misfits.is_empty() {
            misfits.push(Misfit::End { kind });
        }
        if misfits.is_empty() { Ok(kinds) } else { Err(misfits) }
    }

    /// Every claim that two stages make, in whatever branch they stand.
    fn contested(&self) -> Vec<Misfit> {
        let mut owners: Vec<((usize, usize), Claim)> = Vec::new();
        let mut misfits = Vec::new();
        for (at, claim) in self.stages.iter().enumerate().flat_map(claims) {
            match owners.iter().find(|(owner, held)| *held == claim && *owner != at) {
                Some((owner, _)) => misfits.push(Misfit::Claim { indexes: (owner.0, at.0), claim }),
                None => owners.push((at, claim)),
            }
        }
        misfits
    }
}

/// What a stage claims, and each stage of its branches by itself.
fn claims((index, stage): (usize, &Arc<dyn Stage>)) -> Vec<((usize, usize), Claim)> {
    let inner = stage.branches().iter().flat_map(|branch| &branch.stages);
    let own = if stage.branches().is_empty() { stage.claims() } else { vec![] };
    let inner = inner.enumerate().flat_map(|(at, stage)| stage.claims().into_iter().map(move |claim| (at + 1, claim)));
    own.into_iter().map(|claim| (0, claim)).chain(inner).map(|(at, claim)| ((index, at), claim)).collect()
}

/// No stage can follow one that parts the pipeline.
fn behind_branches(parts: &str, given: &Kind) -> Box<Mismatch> {
    Mismatch::inside(format!("no stage can follow {parts}, whose branches end by themselves"), given, given.clone())
        .hint(format!("move it into each branch of {parts} that needs it"))
}
