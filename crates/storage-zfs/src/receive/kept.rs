//! What an interrupted transfer left here, and what this one may leave.

use reseed_core::Result;
use reseed_core::item::{ArrivalsStay, SnapshotPart};
use reseed_core::stage::{CheckCx, StageCx};

use super::Receiver;
use crate::mapping::Goal;
use crate::partial::{Partial, Partials, Resuming};
use crate::send::known::zfs_of;
use crate::shared::{Chain, Chains, Outgoing, SentWith, SourcePlan};

/// The properties of a copy that say how it was begun: by which flags of `zfs send`, of which record size,
/// and with which key where it came raw.
const FLAGS: &str = "reseed:flags";
const RECORDSIZE: &str = "reseed:recordsize";
const KEY: &str = "reseed:key";

/// Notes how a copy has come.
pub(super) async fn remember(receiver: &Receiver, source: &str, dataset: &str, cx: &StageCx) -> Result<()> {
    let sent = cx.board().get::<SentWith>();
    let sent = sent.as_ref().and_then(|sent| sent.0.iter().find(|chain| chain.source == source));
    let Some(sent) = sent else { return Ok(()) };
    let all = [(FLAGS, Some(&sent.flags)), (RECORDSIZE, sent.recordsize.as_ref()), (KEY, sent.key.as_ref())];
    let all: Vec<_> = all.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    Ok(receiver.zfs.set_several(dataset, &all).await?)
}

/// What a copy says of how it was begun; what it has from elsewhere does not count.
async fn begun(receiver: &Receiver, source: &str, dataset: &str) -> Result<Option<Chain>> {
    let mut told = receiver.zfs.properties(dataset, &[FLAGS, RECORDSIZE, KEY].join(",")).await?;
    told.retain(|_, own| own.source == "local");
    let mut take = |name| told.remove(name).map(|own| own.value);
    let (flags, recordsize, key) = (take(FLAGS), take(RECORDSIZE), take(KEY));
    let (source, dataset) = (source.to_owned(), dataset.to_owned());
    Ok(flags.map(|flags| Chain { source, dataset, flags, recordsize, key }))
}

/// Looks for what is kept in these datasets, and leaves it on the board for the sender.
pub(super) async fn look(receiver: &Receiver, all: &[(SnapshotPart, String)], cx: &CheckCx) -> Result<()> {
    let (mut found, mut chains) = (vec![], vec![]);
    for (part, dataset) in all {
        chains.extend(begun(receiver, &part.dataset, dataset).await?);
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
