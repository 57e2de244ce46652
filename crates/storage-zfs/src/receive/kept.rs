//! What an interrupted transfer left here, and what this one may leave.

use reseed_core::Result;
use reseed_core::item::{ArrivalsStay, SnapshotPart, StreamHeader};
use reseed_core::stage::{CheckCx, StageCx};

use super::Receiver;
use crate::made::Made;
use crate::mapping::Goal;
use crate::name;
use crate::partial::{Partial, Partials, Resuming};
use crate::send::known::zfs_of;
use crate::shared::{Outgoing, SourcePlan};

/// The properties of a copy that say how it was begun: by which flags of `zfs send`, of which record size,
/// and with which key where it came raw.
const FLAGS: &str = "reseed:flags";
const RECORDSIZE: &str = "reseed:recordsize";
const KEY: &str = "reseed:key";

/// Notes how a copy has come.
pub(super) async fn remember(receiver: &Receiver, made: Option<&str>, dataset: &str) -> Result<()> {
    let Some(made) = made.map(Made::read) else { return Ok(()) };
    let all = [(FLAGS, Some(&made.flags)), (RECORDSIZE, made.recordsize.as_ref()), (KEY, made.key.as_ref())];
    let all: Vec<_> = all.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    Ok(receiver.zfs.set_several(dataset, &all).await?)
}

/// What a copy says of how it was begun; what it has from elsewhere does not count.
pub(super) async fn begun(receiver: &Receiver, dataset: &str) -> Result<Option<String>> {
    let mut told = receiver.zfs.properties(dataset, &[FLAGS, RECORDSIZE, KEY].join(",")).await?;
    told.retain(|_, own| own.source == "local");
    let mut take = |name| told.remove(name).map(|own| own.value);
    let (flags, recordsize, key) = (take(FLAGS), take(RECORDSIZE), take(KEY));
    Ok(flags.map(|flags| Made { flags, recordsize, key }.to_string()))
}

/// Looks for what is kept in these datasets, and leaves it on the board for the sender.
pub(super) async fn look(receiver: &Receiver, all: &[(SnapshotPart, String)], cx: &CheckCx) -> Result<()> {
    let mut found = vec![];
    if matches!(receiver.goal, Goal::Into(_)) && receiver.zfs.features().await?.receive_resumable {
        for (part, dataset) in all {
            if let Some(token) = receiver.zfs.token(dataset).await? {
                found.push(Partial { source: part.dataset.clone(), dataset: dataset.clone(), token });
            }
        }
    }
    if !all.is_empty() {
        cx.board().put(Partials(found));
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

/// The same for one stream. Of one of several snapshots that comes from a repository no part is kept: a get brings
/// all of an increment or nothing. Of datasets inside each other that come from a repository none keeps a part: what is
/// below a part can't be taken back.
pub(super) async fn may_keep_of(
    receiver: &Receiver,
    dataset: &str,
    header: &StreamHeader,
    cx: &CheckCx,
) -> Result<bool> {
    let nested = receiver.mapping().targets().any(|other| {
        other != dataset && (name::under(other, dataset).is_some() || name::under(dataset, other).is_some())
    });
    if (nested || !header.between.is_empty()) && !comes_directly(cx) { Ok(false) } else { may_keep(receiver, cx).await }
}

/// Whether it comes from a source that is asked in this run, and not from a repository.
pub(super) fn comes_directly(cx: &CheckCx) -> bool {
    cx.board().get::<SourcePlan>().is_some()
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
