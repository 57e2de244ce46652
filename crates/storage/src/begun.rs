//! Snapshots with whose streams an earlier run was not done.

use reseed_core::Result;
use reseed_core::item::SnapshotPart;
use reseed_core::stage::CheckCx;

use crate::{Layout, Part};

/// Snapshots of an earlier run that this one goes on with: on the board from the survey on, where they are
/// all there.
#[derive(Debug, Clone)]
struct Begun(Vec<SnapshotPart>);

/// Asks whether a later stage could go on with snapshots of an earlier run. For the survey of a stage that
/// takes snapshots.
///
/// # Errors
/// When that can't be found out.
pub async fn ask(layout: &Layout, cx: &CheckCx) -> Result<Vec<SnapshotPart>> {
    let datasets: Vec<_> = layout.parts.iter().map(|part| part.dataset.as_str()).collect();
    cx.unfinished(&datasets).await.map(Option::unwrap_or_default)
}

/// Remembers the snapshots that were asked for, if all of them are still there.
pub fn remember(begun: Vec<SnapshotPart>, are_there: bool, cx: &CheckCx) {
    match (begun.first(), are_there) {
        (None, _) => {}
        (Some(_), true) => cx.board().put(Begun(begun)),
        (Some(part), false) => {
            let SnapshotPart { dataset, snapshot, .. } = part;
            cx.note(format!(
                "@{snapshot} of {dataset}, which an earlier run began to keep, is gone: a new one is taken"
            ));
        }
    }
}

/// The snapshots to go on with, if they are of these volumes exactly.
pub fn of(parts: &[Part], cx: &CheckCx) -> Option<Vec<SnapshotPart>> {
    let begun = cx.board().get::<Begun>()?;
    let same = begun.0.len() == parts.len() && parts.iter().all(|part| begun.0.iter().any(|one| is_of(one, part)));
    same.then(|| begun.0.clone())
}

fn is_of(snapshot: &SnapshotPart, part: &Part) -> bool {
    snapshot.dataset == part.dataset && snapshot.main == part.main
}
