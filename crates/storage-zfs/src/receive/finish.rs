//! What is done when every stream has been received.

use std::collections::BTreeMap;
use std::sync::Arc;

use reseed_core::item::{LeftOut, Places, StreamHeader, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use reseed_storage::mirror::{self, Mirror};
use reseed_storage::pristine::Pristine;

use super::begin::PRISTINE;
use super::volume::InPlace;
use super::{Receiver, kept};
use crate::fresh;
use crate::mapping::Goal;
use crate::place::{self, Misplaced, Origin};
use crate::prune::Prune;
use crate::shared::Received;
use crate::undo::{DestroyDataset, Unmount};

/// Marks what was received, and makes a volume of it.
pub(super) async fn finish(receiver: &Receiver, headers: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
    let received = collect(receiver, &headers)?;
    let target = receiver.target().await?;
    for (part, dataset) in &received.parts {
        let snapshot = format!("{dataset}@{}", part.snapshot);
        let mark = async { Ok(receiver.zfs.set(&snapshot, "reseed:target", &target).await?) };
        tokio::try_join!(mark, kept::remember(receiver, &part.dataset, dataset, cx))?;
    }
    let datasets = received.parts.iter().map(|(part, dataset)| (dataset.clone(), part.guid.clone())).collect();
    let prune = Prune { zfs: receiver.zfs.clone(), datasets, target, keep: receiver.keep, anchor: None };
    match &receiver.goal {
        Goal::Into(_) => {
            cx.after_commit(prune)?;
            keep_pristine(receiver, &headers).await?;
            cx.board().put(received);
            Ok(Arc::new(Pristine { host: Arc::clone(receiver.zfs.host()), hint: super::CLONE_IT }))
        }
        Goal::Over(_) => {
            let volume = settle(receiver, received, &prune.target, cx).await?;
            cx.after_commit(prune)?;
            Ok(Arc::new(volume))
        }
    }
}

/// Marks what was received, so that it is a copy like any other should the run fail later.
pub(super) async fn settle_copies(receiver: &Receiver, headers: &[StreamHeader]) -> Result<()> {
    let target = receiver.target().await?;
    for header in headers {
        let dataset = receiver.dataset(&header.part)?;
        receiver.zfs.set(&format!("{dataset}@{}", header.part.snapshot), "reseed:target", &target).await?;
    }
    keep_pristine(receiver, headers).await
}

fn collect(receiver: &Receiver, headers: &[StreamHeader]) -> Result<Received> {
    let parts = headers.iter().map(|header| Ok((header.part.clone(), receiver.dataset(&header.part)?)));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    // Every header carries those of its whole set.
    let left_out = headers.first().map(|header| header.left_out.clone()).unwrap_or_default();
    let named = |left: LeftOut| receiver.dataset_of(&left.dataset, false).map(|name| (left, name));
    let left_out = left_out.into_iter().map(named).collect::<Result<Vec<_>>>()?;
    Ok(Received { zfs: receiver.zfs.clone(), parts, left_out })
}

/// Whole copies are made read-only and kept from being mounted, where `zfs receive` could not.
async fn keep_pristine(receiver: &Receiver, headers: &[StreamHeader]) -> Result<()> {
    let zfs = &receiver.zfs;
    if zfs.features().await?.receive_properties {
        return Ok(());
    }
    for header in headers.iter().filter(|header| header.from_guid.is_none()) {
        let dataset = receiver.dataset(&header.part)?;
        for property in ["mountpoint=none"].iter().chain(&PRISTINE) {
            if let Some((property, value)) = property.split_once('=') {
                zfs.set(&dataset, property, value).await?;
            }
        }
    }
    Ok(())
}

/// In place: every copy takes over what its predecessor had, and is mounted where that was.
async fn settle(receiver: &Receiver, received: Received, target: &str, cx: &StageCx) -> Result<InPlace> {
    let zfs = &receiver.zfs;
    // An old `zfs` mounts what it receives, and mounts anew what is mounted when `canmount` is set.
    for (_, dataset) in received.parts.iter().rev() {
        zfs.unmount(dataset).await?;
    }
    let wanted = wanted(&received, cx)?;
    for (_, dataset) in &received.parts {
        succeed(receiver, dataset, wanted.get(dataset), cx).await?;
    }
    for (_, dataset) in &received.left_out {
        let spare = receiver.displace(dataset, cx).await?.map(|(live, _)| live);
        cx.arm(DestroyDataset { spare, ..DestroyDataset::new(zfs, dataset) })?;
        zfs.create(dataset, &[("canmount".to_owned(), "noauto".to_owned())]).await?;
        zfs.unmount(dataset).await?;
        succeed(receiver, dataset, wanted.get(dataset), cx).await?;
    }
    mount(receiver, &received, cx).await?;
    let mirrors = mirrors(receiver, &received).await?;
    for (left, _) in &received.left_out {
        if let Some(empty) = mirrors.iter().find(|mirror| mirror.source == left.mountpoint) {
            mirror::furnish(zfs.host().as_ref(), empty, &mirrors, cx).await?;
        }
    }
    for live in receiver.moved().lives.iter() {
        live.after_commit(zfs, receiver.keep_old, Some(target), cx)?;
    }
    Ok(InPlace::new(zfs, mirrors))
}

/// Mounts all, those that others are mounted inside first.
async fn mount(receiver: &Receiver, received: &Received, cx: &StageCx) -> Result<()> {
    let zfs = &receiver.zfs;
    let parts = received.parts.iter().map(|(_, dataset)| dataset);
    let mut paths = vec![];
    for dataset in parts.chain(received.left_out.iter().map(|(_, dataset)| dataset)) {
        let path = zfs.properties(dataset, "mountpoint").await?.remove("mountpoint").unwrap_or_default().value;
        paths.push((path.len(), dataset));
    }
    paths.sort();
    let mut named = vec![];
    for (_, dataset) in &paths {
        let live = receiver.displace(dataset, cx).await?.map(|(live, _)| live);
        named.push(((*dataset).clone(), live));
    }
    cx.arm(Unmount { zfs: zfs.clone(), datasets: named })?;
    for (_, dataset) in paths {
        zfs.mount(dataset).await?;
    }
    Ok(())
}

/// Where each dataset is to be mounted, as far as the places are known.
fn wanted(received: &Received, cx: &StageCx) -> Result<BTreeMap<String, String>> {
    let Some(places) = cx.board().get::<Places>() else { return Ok(BTreeMap::new()) };
    let parts = received.parts.iter().map(|(part, dataset)| (Origin::of(part), dataset));
    let left = received.left_out.iter().map(|(left, dataset)| (Origin::empty(left), dataset));
    let (origins, datasets): (Vec<_>, Vec<_>) = parts.chain(left).unzip();
    let failed = |why: Misplaced| Error::failed(why.to_string()).hint(why.hint());
    let mountpoints = place::mountpoints(&origins, &places.0).map_err(failed)?;
    Ok(datasets.into_iter().cloned().zip(mountpoints).collect())
}

/// Gives a dataset its predecessor's properties; where it has none, its mount point.
async fn succeed(receiver: &Receiver, dataset: &str, wanted: Option<&String>, cx: &StageCx) -> Result<()> {
    let zfs = &receiver.zfs;
    let mut canmount = "on".to_owned();
    if let Some(live) = receiver.stepped(dataset) {
        let rest = dataset.strip_prefix(&live.root).unwrap_or_default();
        let aside = format!("{}{rest}", live.aside(cx.run_id()));
        let has = fresh::inheritance(zfs, dataset).await?;
        for property in fresh::inheritance(zfs, &aside).await?.iter().filter(|property| !has.contains(property)) {
            zfs.set(dataset, &property.0, &property.1).await?;
        }
        let mountpoint = zfs.properties(&aside, "mountpoint").await?.remove("mountpoint").unwrap_or_default();
        if mountpoint.source == "local" {
            zfs.set(dataset, "mountpoint", &mountpoint.value).await?;
        }
        if let Some(was) = live.tree.iter().find(|was| was.name == dataset) {
            canmount.clone_from(&was.canmount);
        }
    } else if let Some(wanted) = wanted {
        let has = zfs.properties(dataset, "mountpoint").await?.remove("mountpoint").unwrap_or_default();
        if has.value != *wanted {
            zfs.set(dataset, "mountpoint", wanted).await?;
        }
    }
    Ok(zfs.set(dataset, "canmount", &canmount).await?)
}

async fn mirrors(receiver: &Receiver, received: &Received) -> Result<Vec<Mirror>> {
    let mounts = receiver.zfs.mounts().await?;
    let parts = received.parts.iter().map(|(part, dataset)| (&part.mountpoint, dataset));
    let left = received.left_out.iter().map(|(left, dataset)| (&left.mountpoint, dataset));
    let mirror = |(source, dataset): (&String, &String)| match mounts.path_of(dataset) {
        Some(copy) => Ok(Mirror { source: source.clone(), copy: copy.to_owned() }),
        None => {
            let error = Error::failed(format!("{dataset} is not mounted"));
            Err(error.hint(format!("see why: `zfs get mountpoint,canmount {dataset}`")))
        }
    };
    parts.chain(left).map(mirror).collect()
}
