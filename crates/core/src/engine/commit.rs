//! The end of a run that is done: what was armed is forgotten, and what was left for afterwards is done.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::task::JoinSet;

use super::drive::panic_text;
use crate::event::{Event, Observer};
use crate::stage::Run;
use crate::undo::Chore;

/// Nothing is taken back any more; does what was left for afterwards.
///
/// Where a branch is not done, that is left to a run in which all are: it would take away what the
/// next increment for that branch starts from.
pub(super) async fn commit(run: &Run) {
    run.undo.commit();
    let chores = std::mem::take(&mut *run.chores.lock().unwrap_or_else(PoisonError::into_inner));
    if run.forked().iter().all(|branch| branch.has_committed()) {
        return perform_all(chores, &run.observer).await;
    }
    for chore in chores {
        let text = format!("not done, since a branch is not: {}", chore.describe());
        run.observer.on(&Event::Warning { stage: None, text });
    }
}

/// Does what belongs to one machine in its order, and machines side by side.
async fn perform_all(chores: Vec<Arc<dyn Chore>>, observer: &Arc<dyn Observer>) {
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
