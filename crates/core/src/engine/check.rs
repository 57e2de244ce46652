//! Surveys and checks, and what they refuse.

use std::sync::Arc;

use super::Engine;
use crate::event::Event;
use crate::stage::{CheckCx, Run};
use crate::{Class, Error, Result};

/// Refusals by the position of their stage.
type Found = Vec<(usize, Error)>;

impl Engine {
    /// Surveys every stage, then checks those whose survey went well, and collects what is refused.
    pub(super) async fn check_run(&self, run: &Arc<Run>) -> Result<(), Vec<Error>> {
        let mut found = Found::new();
        let surveyed = self.survey_all(run, &mut found).await;
        let done = match surveyed {
            Ok(()) => self.check_all(run, &mut found).await,
            cancelled => cancelled,
        };
        done.map_err(|cancelled| vec![cancelled])?;
        let refusals: Vec<_> =
            causes(found).into_iter().map(|(index, error)| self.refusal(run, index, error)).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Fails only when it is cancelled.
    async fn survey_all(&self, run: &Arc<Run>, found: &mut Found) -> Result<()> {
        for (index, stage) in run.stages.iter().enumerate() {
            let cx = CheckCx { run: Arc::clone(run), index };
            note(self.unless_cancelled(stage.survey(&cx)).await, run, index, found)?;
        }
        Ok(())
    }

    /// Fails only when it is cancelled.
    async fn check_all(&self, run: &Arc<Run>, found: &mut Found) -> Result<()> {
        let blind: Vec<_> = found.iter().map(|(index, _)| *index).collect();
        for (index, stage) in run.stages.iter().enumerate().filter(|(index, _)| !blind.contains(index)) {
            let cx = CheckCx { run: Arc::clone(run), index };
            note(self.unless_cancelled(stage.check(&cx)).await, run, index, found)?;
        }
        Ok(())
    }

    /// Tells the refusal, and gives it with the name of its stage in front.
    pub(super) fn refusal(&self, run: &Arc<Run>, index: usize, error: Error) -> Error {
        let (error, stage) = (error.into_refusal(), run.stages[index].name().to_owned());
        let (text, hint) = (error.chain(), error.hint_text().map(str::to_owned));
        let refusal = error.context(format!("stage {stage}"));
        self.observer.on(&Event::Refused { index, stage, error: text, hint });
        refusal
    }
}

/// Keeps a refusal; gives a cancel back.
fn note(done: Result<()>, run: &Run, index: usize, found: &mut Found) -> Result<()> {
    match done {
        Err(error) if error.class() == Class::Cancelled => {
            Err(error.context(format!("stage {}", run.stages[index].name())))
        }
        Err(error) => {
            found.push((index, error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// What is told of it, in the order of the stages: no follow-ups where there is a cause, and what
/// several stages say alike only once.
fn causes(mut found: Found) -> Found {
    if found.iter().any(|(_, error)| !error.is_follow_up()) {
        found.retain(|(_, error)| !error.is_follow_up());
    }
    found.sort_by_key(|(index, _)| *index);
    let mut told: Vec<String> = Vec::new();
    found.retain(|(_, error)| {
        let text = error.chain();
        let new = !told.contains(&text);
        told.push(text);
        new
    });
    found
}

/// One error that names all refusals; class and hint are those of the first.
pub(super) fn merge(mut refusals: Vec<Error>) -> Error {
    let first = refusals.remove(0);
    if refusals.is_empty() {
        return first;
    }
    let rest: Vec<_> = refusals.iter().map(Error::chain).collect();
    let hint = first.hint_text().map(str::to_owned);
    let text = format!("{}; and {}", first.chain(), rest.join("; and "));
    let merged = if first.class() == Class::Cancelled { Error::cancelled() } else { Error::refused(text) };
    match hint {
        Some(hint) => merged.hint(hint),
        None => merged,
    }
}
