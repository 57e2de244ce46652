//! Stages in order, and whether they fit together.

use std::sync::Arc;

use crate::stage::{Claim, Stage};
use crate::{Kind, Mismatch};

/// Stages in order, under a name.
#[derive(Debug, Clone)]
pub struct Pipeline {
    name: String,
    stages: Vec<Arc<dyn Stage>>,
}

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
        Self { name: name.into(), stages }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its stages.
    pub fn stages(&self) -> &[Arc<dyn Stage>] {
        &self.stages
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
            kind = stage.flow(&kind).unwrap_or_else(|mismatch| {
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

    fn contested(&self) -> Vec<Misfit> {
        let mut owners: Vec<(usize, Claim)> = Vec::new();
        let mut misfits = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            for claim in stage.claims() {
                match owners.iter().find(|(owner, held)| *held == claim && *owner != index) {
                    Some((owner, _)) => misfits.push(Misfit::Claim { indexes: (*owner, index), claim }),
                    None => owners.push((index, claim)),
                }
            }
        }
        misfits
    }
}
