//! What an interrupted transfer left here, and what this one may leave.

use reseed_core::Result;
use reseed_core::item::{ArrivalsStay, SnapshotPart};
use reseed_core::stage::{CheckCx, StageCx};

use super::Receiver;
use crate::mapping::Goal;
use crate::partial::{Partial, Partials, Resuming};
use crate::send::known::zfs_of;
use crate::shared::{Chain, Chains, Outgoing, SentWith, SourcePlan};

/// The property of a copy that says by which flags of `zfs send` it was begun.
const FLAGS: &str = "reseed:flags";

/// Notes by which flags a copy has come.
pub(super) async fn remember(receiver: &Receiver, source: &str, dataset: &str, cx: &StageCx) -> Result<()> {
    let sent = cx.board().get::<SentWith>();
    let sent = sent.as_ref().and_then(|sent| sent.0.iter().find(|chain| chain.source == source));
    match sent {
        Some(sent) => Ok(receiver.zfs.set(dataset, FLAGS, &sent.flags).await?),
        None => Ok(()),
    }
}

/// Looks for what is kept in these datasets, and leaves it on the board for the sender.
pub(super) async fn look(receiver: &Receiver, all: &[(SnapshotPart, String)], cx: &CheckCx) -> Result<()> {
    let (mut found, mut chains) = (vec![], vec![]);
    for (part, dataset) in all {
        if let Some(flags) =
            receiver.zfs.properties(dataset, FLAGS).await?.remove(FLAGS).filter(|own| own.source == "local")
        {
            chains.push(Chain { source: part.dataset.clone(), dataset: dataset.clone(), flags: flags.value });
        }
    }
    if matches!(receiver.goal, Goal::Into(_)) && receiver.zfs.features().await?.receive_resumable {
        for (part, dataset) in all {
            if let Some(token) = receiver.zfs.token(dataset).await? {
                found.push(Partial { source: part.dataset.clone(), dataset: dataset.clone(), token });
            }
        }
    }
    if !all.is_empty() {
        cx.board().put(Partials(found));
        cx.board().put(Chains(chains));
    }
    Ok(())
}

/// Whether what arrives before a cut may be kept: beside the live data, of a source that can go on
/// where it was cut. A source in front of a `tee` answers to all branches and keeps nothing for one.
pub(super) async fn may_keep(receiver: &Receiver, cx: &CheckCx) -> Result<bool> {
    let direct = matches!(receiver.goal, Goal::Into(_)) && cx.branch().is_none();
    if !direct || !receiver.zfs.features().await?.receive_resumable {
        return Ok(false);
    }
    match cx.board().get::<SourcePlan>() {
        Some(source) => Ok(zfs_of(&source.host, cx).features().await?.send_resumes),
        None => Ok(cx.board().get::<ArrivalsStay>().is_some()),
    }
}

/// Gives up what is there and will not be gone on with.
pub(super) async fn give_up(receiver: &Receiver, dataset: &str, cx: &StageCx) -> Result<()> {
    let known = cx.board().get::<Partials>();
    if !known.is_some_and(|known| known.0.iter().any(|partial| partial.dataset == dataset)) {
        return Ok(());
    }
    let Some(token) = receiver.zfs.token(dataset).await? else { return Ok(()) };
    receiver.zfs.give_up_partial(dataset).await?;
    cx.note(format!(
        "gave up {} bytes of {} that {dataset} kept of an interrupted transfer",
        token.bytes, token.to_name
    ));
    Ok(())
}

/// From where the next stream into a dataset starts: where an interrupted one did, if that is gone
/// on with, else where the sender says.
pub(super) fn base(dataset: &str, outgoing: &Outgoing, cx: &CheckCx) -> Option<String> {
    match Resuming::into(cx, dataset) {
        Some(partial) => partial.token.from_guid,
        None => outgoing.base.clone(),
    }
}
