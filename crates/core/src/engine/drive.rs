//! Runs the stages of a run.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::AbortOnDropHandle;

use super::limits::Limits;
use super::stall::stalled;
use crate::event::Event;
use crate::item::Item;
use crate::stage::{CheckCx, Run, StageCx};
use crate::{Error, Result};

/// Runs some of the stages, each on what the one before it gives.
pub(super) async fn stages(run: &Arc<Run>, which: Range<usize>, item: Item) -> Result<Item> {
    let mut item = item;
    let mut limits = Limits::default();
    for index in which {
        limits.begin(run.stages[index].as_ref());
        item = stage(run, index, item, &limits).await?;
        limits.done(&item);
    }
    Ok(item)
}

async fn stage(run: &Arc<Run>, index: usize, input: Item, limits: &Limits) -> Result<Item> {
    let name = run.stages[index].name().to_owned();
    run.observer.on(&Event::StageStarted { index, stage: name.clone() });
    let begun = Instant::now();
    match drive(run, index, input, limits).await {
        Ok(item) => {
            let seconds = begun.elapsed().as_secs_f64();
            run.observer.on(&Event::StageFinished { index, stage: name, seconds });
            Ok(item)
        }
        Err(error) => {
            let error = error.into_failure().context(format!("stage {name}"));
            run.observer.on(&Event::StageFailed { index, stage: name, error: error.chain() });
            Err(error)
        }
    }
}

/// Runs one stage as a task of its own, so that a panic is an error like another. After a
/// cancel it has a grace period; then it is dropped, and its children with it. It is dropped at once
/// when its time is over, when its streams have stalled, or when one who watches over the run fails.
async fn drive(run: &Arc<Run>, index: usize, input: Item, limits: &Limits) -> Result<Item> {
    if run.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    let stage = Arc::clone(&run.stages[index]);
    let cx = StageCx(CheckCx { run: Arc::clone(run), index });
    let work = run.working.track_future(async move { stage.run(input, &cx).await });
    let mut task = AbortOnDropHandle::new(tokio::spawn(work));
    let joined = tokio::select! {
        joined = &mut task => joined,
        trouble = trouble(run, index, limits) => {
            task.abort();
            let _ = task.await;
            branches_are_gone(run).await;
            return Err(trouble);
        }
        () = run.cancel.cancelled() => match tokio::time::timeout(run.grace, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                task.abort();
                task.await
            }
        },
    };
    branches_are_gone(run).await;
    match joined {
        Ok(result) if run.cancel.is_cancelled() => result.and(Err(Error::cancelled())).map_err(|_| Error::cancelled()),
        Ok(result) => result,
        Err(gone) if gone.is_panic() => Err(Error::failed(panicked(gone))),
        Err(_) => Err(Error::cancelled()),
    }
}

/// Waits for whatever a stage that parts the run has left at work when it was dropped.
async fn branches_are_gone(run: &Run) {
    for branch in run.forked() {
        branch.is_gone().await;
    }
}

/// Resolves when the stage at work must not go on.
async fn trouble(run: &Run, index: usize, limits: &Limits) -> Error {
    tokio::select! {
        error = run.watchers.alarm() => error,
        error = limits.passed() => error,
        error = stalled(run, index) => error,
    }
}

pub(super) fn panicked(gone: tokio::task::JoinError) -> String {
    format!("panicked: {}", panic_text(gone))
}

pub(super) fn panic_text(gone: tokio::task::JoinError) -> String {
    let payload = gone.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
