//! Waits for what those who are gone have still at work.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Owner, Story};
use crate::config::Resources;
use crate::event::{Event, Observer};
use crate::host::Bygone;
use crate::host::at_work::{Traces, at_work};

/// How long what is at work on this machine is awaited, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(50);
/// How often nothing must be found: what has just been forked has no environment yet.
const LOOKS: usize = 2;
/// Of how many processes it is awaited, the last ones: a run that is stuck may be tried for ever.
const LAST: usize = 3;

/// Waits until nothing of the processes that worked on the run is at work on this machine any more, and has
/// the run's hosts do the same before the next command there. A run that died may have begun a short act that
/// has still to be done, and would undo the undo.
pub(super) async fn settle(
    story: &Story,
    resources: Option<&Resources>,
    observer: &Arc<dyn Observer>,
    stop: &CancellationToken,
) {
    let hosts = resources.map(Resources::hosts).unwrap_or_default();
    // Those before were awaited by the ones behind them. One that is alive has not ended here, but gone on to
    // other work.
    let last = story.owners.len().saturating_sub(LAST);
    for owner in story.owners[last..].iter().filter(|owner| !owner.is_alive()) {
        let observer = Arc::clone(observer);
        let warn = move |text| observer.on(&Event::Warning { stage: None, text });
        let Some(bygone) = Bygone::new(&owner.mark, warn) else { continue };
        hosts.iter().for_each(|host| host.settle(&bygone));
        if owner.was_here() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = settle_here(owner, &bygone) => {}
            }
        }
    }
}

async fn settle_here(owner: &Owner, bygone: &Bygone) {
    let traces = Traces { mark: owner.mark.clone(), session: owner.session, began: owner.started };
    let (deadline, mut looks) = (Instant::now() + PATIENCE, 0);
    loop {
        let left = at_work(&traces).await;
        looks = if left.is_empty() { looks + 1 } else { 0 };
        if looks == LOOKS {
            return;
        }
        if Instant::now() >= deadline && !left.is_empty() {
            return bygone.goes_on("this machine", &left);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
