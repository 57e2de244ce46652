//! Runs the stages of a run.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::AbortOnDropHandle;

use crate::event::Event;
use crate::item::Item;
use crate::stage::{CheckCx, Run, StageCx};
use crate::{Error, Result};

/// Runs the stages from `from` on, each on what the one before it gives.
pub(super) async fn stages(run: &Arc<Run>, from: usize, item: Item) -> Result<Item> {
    let mut item = item;
    for index in from..run.stages.len() {
        item = stage(run, index, item).await?;
    }
    Ok(item)
}

async fn stage(run: &Arc<Run>, index: usize, input: Item) -> Result<Item> {
    let name = run.stages[index].name().to_owned();
    run.observer.on(&Event::StageStarted { index, stage: name.clone() });
    let begun = Instant::now();
    match drive(run, index, input).await {
        Ok(item) => {
            let seconds = begun.elapsed().as_secs_f64();
            run.observer.on(&Event::StageFinished { index, stage: name, seconds });
            Ok(item)
        }
        Err(error) => {
            let error = error.context(format!("stage {name}"));
            run.observer.on(&Event::StageFailed { index, stage: name, error: error.chain() });
            Err(error)
        }
    }
}

/// Runs one stage as a task of its own, so that a panic is an error like another. After a
/// cancel it has a grace period; then it is dropped, and its children with it.
async fn drive(run: &Arc<Run>, index: usize, input: Item) -> Result<Item> {
    if run.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    let stage = Arc::clone(&run.stages[index]);
    let cx = StageCx(CheckCx { run: Arc::clone(run), index });
    let mut task = AbortOnDropHandle::new(tokio::spawn(async move { stage.run(input, &cx).await }));
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = run.cancel.cancelled() => match tokio::time::timeout(run.grace, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                task.abort();
                task.await
            }
        },
    };
    match joined {
        Ok(result) if run.cancel.is_cancelled() => result.and(Err(Error::cancelled())).map_err(|_| Error::cancelled()),
        Ok(result) => result,
        Err(gone) if gone.is_panic() => Err(Error::failed(format!("panicked: {}", panic_text(gone)))),
        Err(_) => Err(Error::cancelled()),
    }
}

pub(super) fn panic_text(gone: tokio::task::JoinError) -> String {
    let payload = gone.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
