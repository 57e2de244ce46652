//! What must hold before anything is received.

use reseed_core::item::Places;
use reseed_core::stage::{CheckCx, StageCx};
use reseed_core::{Error, Result};
use reseed_storage::directory::is_free;
use reseed_storage::plan::no_room;
use reseed_storage::room::Room;

use super::{Receiver, kept};
use crate::aside;
use crate::check;
use crate::mapping::Goal;
use crate::name;
use crate::parse::Snapshot;
use crate::place::{self, Misplaced, Origin};
use crate::several;
use crate::shared::{ReceivePlan, SendPlan, SourcePlan};
use crate::zfs::Zfs;

/// Judges the whole plan.
pub(super) async fn check(receiver: &Receiver, cx: &CheckCx) -> Result<()> {
    let zfs = &receiver.zfs;
    let above = async { check::may_receive(zfs, &check::existing_above(zfs, receiver.top()).await?).await };
    above.await?;
    has_parent(zfs, receiver.top()).await?;
    let Some(plan) = cx.board().get::<ReceivePlan>() else { return Ok(()) };
    if let Some(source) = cx.board().get::<SourcePlan>() {
        source.differs_from(plan.datasets.iter().map(|(_, target)| target.as_str()), zfs.host()).await?;
    }
    let mut all = Some(0);
    for (part, dataset) in &plan.datasets {
        let outgoing = cx.board().get::<SendPlan>();
        let outgoing = outgoing.as_ref().and_then(|plan| plan.of(&part.dataset));
        // Several streams come one after the other into the same pool. Where one is unknown, so is the sum.
        all = all.zip(planned(&part.dataset, cx)).map(|(all, bytes): (u64, u64)| all.saturating_add(bytes));
        let pristine = async {
            if let (Goal::Into(_), Some(outgoing)) = (&receiver.goal, outgoing)
                && let Some(base) = judge(zfs, dataset, kept::base(dataset, outgoing, cx).as_deref()).await?
            {
                base.tell(dataset, cx);
                unmodified(zfs, dataset, &base.snapshot).await?;
            }
            Ok(())
        };
        let above = async {
            check::existing_above(zfs, dataset).await?;
            room(receiver, dataset, all).await
        };
        tokio::try_join!(above, pristine)?;
    }
    if let Goal::Over(_) = &receiver.goal {
        check::may_mount(zfs).await?;
        replaced(receiver, &plan, cx).await?;
        placed(zfs, &plan, cx).await?;
    }
    Ok(())
}

/// How many bytes the source expects to send of a dataset, where it can tell.
pub(super) fn planned(dataset: &str, cx: &CheckCx) -> Option<u64> {
    cx.board().get::<SendPlan>()?.of(dataset)?.bytes
}

/// In place: refuses where a live dataset is not mounted where its copy belongs.
async fn placed(zfs: &Zfs, plan: &ReceivePlan, cx: &CheckCx) -> Result<()> {
    let Some(places) = cx.board().get::<Places>() else { return Ok(()) };
    let origins: Vec<_> = plan.datasets.iter().map(|(part, _)| Origin::of(part)).collect();
    let refuse = |why: Misplaced| Error::refused(why.to_string()).hint(why.hint());
    let wanted = place::mountpoints(&origins, &places.0).map_err(refuse)?;
    let mounts = zfs.mounts().await?;
    for ((_, dataset), wanted) in plan.datasets.iter().zip(wanted) {
        let host = zfs.host().name();
        match mounts.path_of(dataset) {
            Some(path) if path == wanted => {}
            Some(path) => {
                let error = Error::refused(format!("{dataset} on {host} is mounted at {path}, not at {wanted}"));
                return Err(error.hint(format!("see what is there, and say so in `over` or `map`: `df {wanted}`")));
            }
            None if zfs.exists(dataset).await? => {
                let error = Error::refused(format!("{dataset} on {host} is not mounted"));
                return Err(error.hint(format!("zfs set mountpoint={wanted} {dataset}; zfs mount {dataset}")));
            }
            None if mounts.at(&wanted).is_some() || !is_free(zfs.host().as_ref(), &wanted).await? => {
                let error = Error::refused(format!("{wanted} on {host} is taken, but not by {dataset}"));
                return Err(error.hint(format!("see what is there, and say so in `over` or `map`: `df {wanted}`")));
            }
            None => {}
        }
    }
    Ok(())
}

async fn has_parent(zfs: &Zfs, dataset: &str) -> Result<()> {
    let Some(parent) = name::parent(dataset) else {
        let error = Error::refused(format!("{dataset} is a whole pool"));
        return Err(error.hint(format!("name a dataset in it, for example {dataset}/reseed")));
    };
    if zfs.exists(parent).await? {
        return Ok(());
    }
    let error = Error::refused(format!("there is no dataset {parent} on {}", zfs.host().name()));
    Err(error.hint(format!("zfs create -p -o mountpoint=none {parent}")))
}

/// The snapshot of a copy from which an increment starts.
pub(super) struct Base {
    pub(super) snapshot: Snapshot,
    /// How many are newer: a stream brought them that was cut, and they are taken back.
    pub(super) cut: usize,
}

impl Base {
    fn tell(&self, dataset: &str, cx: &CheckCx) {
        if self.cut > 0 {
            let (base, cut) = (self.snapshot.short(), self.cut);
            cx.note(format!("{dataset} is taken back to @{base}: {cut} newer came by a transfer that was cut off"));
        }
    }
}

/// Refuses unless a pristine copy is new for a whole stream, and at the base for an increment, but for what a
/// stream that was cut brought behind it.
pub(super) async fn judge(zfs: &Zfs, dataset: &str, base: Option<&str>) -> Result<Option<Base>> {
    let Some(base) = base else {
        if !zfs.exists(dataset).await? || only_partial(zfs, dataset).await? {
            return Ok(None);
        }
        return Err(nothing_common(zfs, dataset).await?);
    };
    let snapshots = zfs.snapshots(dataset).await?;
    let snapshots: Vec<_> = snapshots.into_iter().filter(|snapshot| !snapshot.is_bookmark()).collect();
    let Some(at) = snapshots.iter().position(|snapshot| snapshot.guid == base) else {
        return Err(Error::failed(format!("{dataset} does not hold the snapshot that the increment starts from")));
    };
    let (name, newer) = (&snapshots[at].name, &snapshots[at + 1..]);
    if let Some(newest) = newer.last()
        && !several::are_all(zfs, dataset, newer).await?
    {
        let error = Error::failed(format!("{} is newer than {name}, the newest that the source has too", newest.name));
        return Err(error.hint(format!("if the newer ones can go: `zfs rollback -r {name}`")));
    }
    Ok(Some(Base { snapshot: snapshots[at].clone(), cut: newer.len() }))
}

/// Whether a dataset is nothing but what is kept of a cut-off receive.
async fn only_partial(zfs: &Zfs, dataset: &str) -> Result<bool> {
    Ok(zfs.snapshots(dataset).await?.is_empty() && zfs.token(dataset).await?.is_some())
}

/// Refuses where a pristine copy was written to, where this `zfs` can tell. (Receiving tells it too.)
async fn unmodified(zfs: &Zfs, dataset: &str, base: &Snapshot) -> Result<()> {
    let written = zfs.properties(dataset, "written").await.unwrap_or_default().remove("written");
    if !written.is_some_and(|written| written.value.parse::<u64>().is_ok_and(|bytes| bytes > 0)) {
        return Ok(());
    }
    let name = &base.name;
    let error = Error::failed(format!("{dataset} was written to since {name}"));
    Err(error.hint(format!("if that can go: `zfs rollback {name}`, and then `zfs set readonly=on {dataset}`")))
}

/// The refusal of a copy that no increment can be added to, with what makes way for a new one.
async fn nothing_common(zfs: &Zfs, dataset: &str) -> Result<Error> {
    let error = Error::failed(format!("{dataset} on {} holds no snapshot that the source has too", zfs.host().name()));
    let commands = check::makes_way(zfs, dataset).await?;
    Ok(error.hint(format!("if it can go, so that the whole is sent anew: {commands}")))
}

/// Refuses where the pool, or a quota on the way to the dataset, has less than will come.
pub(super) async fn room(receiver: &Receiver, dataset: &str, bytes: Option<u64>) -> Result<()> {
    let zfs = &receiver.zfs;
    let pool = name::pool(dataset);
    let make_room = format!("zfs list -o space -r {pool}");
    let available = async {
        match check::nearest_existing(zfs, dataset).await? {
            Some(above) => number(zfs, &above, "available").await,
            None => Ok(None),
        }
    };
    let (room, available) = tokio::try_join!(pool_room(zfs, pool), available)?;
    receiver.min_free.check(&pool_of(zfs, pool), room, bytes, &make_room)?;
    let Some(bytes) = bytes else { return Ok(()) };
    match available {
        Some(available) if available < bytes => {
            let error = no_room(dataset, bytes, available);
            let missing = (bytes - available).div_ceil(1 << 20);
            Err(error.hint(format!("make room for {missing} MiB more, or raise its quota: `{make_room}`")))
        }
        _ => Ok(()),
    }
}

/// Watches, until the run ends, that enough of the pool stays free.
pub(super) fn watch_room(receiver: &Receiver, dataset: &str, bytes: Option<u64>, cx: &StageCx) {
    let (zfs, pool) = (receiver.zfs.clone(), name::pool(dataset).to_owned());
    let what = pool_of(&zfs, &pool);
    let ask = move || {
        let (zfs, pool) = (zfs.clone(), pool.clone());
        async move { pool_room(&zfs, &pool).await }
    };
    receiver.min_free.watch(what, bytes, ask, cx);
}

fn pool_of(zfs: &Zfs, pool: &str) -> String {
    format!("the pool {pool} on {}", zfs.host().name())
}

/// As its root sees it: what ZFS holds back for itself is not counted.
async fn pool_room(zfs: &Zfs, pool: &str) -> Result<Room> {
    let told = zfs.properties(pool, "available,used").await?;
    let bytes = |name: &str| told.get(name).and_then(|told| told.value.parse::<u64>().ok());
    let (free, used) = (bytes("available"), bytes("used"));
    let unknown = || Error::failed(format!("{} does not say how much is free", pool_of(zfs, pool)));
    let (free, used) = free.zip(used).ok_or_else(unknown)?;
    Ok(Room { size: used + free, free })
}

async fn number(zfs: &Zfs, dataset: &str, property: &str) -> Result<Option<u64>> {
    let told = zfs.properties(dataset, property).await?.remove(property);
    Ok(told.and_then(|told| told.value.parse::<u64>().ok()))
}

/// In place: says what is set aside, and refuses where that would take along what is not copied.
async fn replaced(receiver: &Receiver, plan: &ReceivePlan, cx: &CheckCx) -> Result<()> {
    let targets: Vec<_> = plan.datasets.iter().map(|(_, target)| target.as_str()).collect();
    for live in aside::lives(&receiver.zfs, &targets).await? {
        if let Some(other) = live.tree.iter().find(|one| !targets.contains(&one.name.as_str())) {
            let error = Error::refused(format!("{} is below {} and no part of the copy", other.name, live.root));
            return Err(error.hint(format!("move it elsewhere: `zfs rename {} …`", other.name)));
        }
        let until = match receiver.keep_old {
            keep if keep.is_zero() => "destroyed when the run has succeeded".to_owned(),
            keep => format!("kept for {} s after that", keep.as_secs()),
        };
        let (root, aside) = (&live.root, live.aside(cx.run_id()));
        cx.note(format!(
            "{root} as it is now, with every snapshot newer than the base, is set aside as {aside}, and {until}"
        ));
    }
    Ok(())
}
