//! The end of a run that is done: what was armed is forgotten, and what was left for afterwards is done.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::task::JoinSet;

use super::drive::panic_text;
use crate::Result;
use crate::event::{Event, Observer};
use crate::stage::Run;
use crate::undo::{Chore, Record};

/// What is left to do for a run that has committed.
#[must_use]
pub(super) struct Committed(Vec<Arc<dyn Chore>>);

/// From here on nothing is taken back any more, by whomever.
///
/// Where a branch is not done, the chores are left to a run in which all are: they would take away what
/// the next increment for that branch starts from.
///
/// # Errors
/// When that can't be written down: then it has not committed.
pub(super) fn commit(run: &Run) -> Result<Committed> {
    let all = run.forked().iter().all(|branch| branch.has_committed());
    let mut chores = run.chores.lock().unwrap_or_else(PoisonError::into_inner);
    let records: Vec<Record> = chores.iter().filter(|_| all).map(|(record, _)| record.clone()).collect();
    run.undo.commit(records)?;
    let chores: Vec<_> = std::mem::take(&mut *chores).into_iter().map(|(_, chore)| chore).collect();
    if all {
        return Ok(Committed(chores));
    }
    for chore in chores {
        let text = format!("not done, since a branch is not: {}", chore.describe());
        run.observer.on(&Event::Warning { stage: None, text });
    }
    Ok(Committed(vec![]))
}

/// Does what was left for after the commit.
pub(super) async fn finish(committed: Committed, run: &Run) {
    perform_all(committed.0, &run.observer).await;
}

/// Commits a run of which a branch has committed, so that it can't be taken back. Whoever reads in its
/// journal that the branch has knows that as well.
pub(super) async fn commit_rest(run: &Run) {
    match commit(run) {
        Ok(committed) => finish(committed, run).await,
        Err(error) => run.observer.on(&Event::Warning { stage: None, text: error.chain() }),
    }
}

/// Does what belongs to one machine in its order, and machines side by side.
pub(crate) async fn perform_all(chores: Vec<Arc<dyn Chore>>, observer: &Arc<dyn Observer>) {
    let mut places: BTreeMap<Option<String>, Vec<Arc<dyn Chore>>> = BTreeMap::new();
    for chore in chores {
        places.entry(chore.host().map(|host| host.name().to_owned())).or_default().push(chore);
    }
    let mut working: JoinSet<()> = places.into_values().map(|chores| perform(chores, Arc::clone(observer))).collect();
    while let Some(done) = working.join_next().await {
        if let Err(gone) = done {
            let text = format!("work after the commit panicked: {}", panic_text(gone));
            observer.on(&Event::Warning { stage: None, text });
        }
    }
}

async fn perform(chores: Vec<Arc<dyn Chore>>, observer: Arc<dyn Observer>) {
    for chore in chores {
        match chore.perform().await {
            Ok(Some(text)) => observer.on(&Event::Chore { text }),
            Ok(None) => {}
            Err(error) => {
                let text = format!("{}: {}", chore.describe(), error.chain());
                observer.on(&Event::Warning { stage: None, text });
            }
        }
    }
}
