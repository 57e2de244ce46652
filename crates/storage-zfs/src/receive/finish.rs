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
use crate::zfs::Zfs;

/// Marks the snapshot that a stream has brought and by which flags its copy came, and keeps a new copy pristine:
/// whatever becomes of the streams behind it, it is a copy like any other.
pub(super) async fn mark(receiver: &Receiver, header: &StreamHeader, dataset: &str) -> Result<()> {
    let (zfs, target) = (&receiver.zfs, receiver.target().await?);
    let snapshot = format!("{dataset}@{}", header.part.snapshot);
    let marked = async { Ok(zfs.set(&snapshot, "reseed:target", &target).await?) };
    tokio::try_join!(marked, kept::remember(receiver, header.made.as_deref(), dataset))?;
    match &receiver.goal {
        Goal::Into(_) if header.from_guid.is_none() => keep_pristine(zfs, dataset).await,
        _ => Ok(()),
    }
}

/// Makes a volume of all that was received.
pub(super) async fn finish(receiver: &Receiver, headers: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
    let received = collect(receiver, &headers)?;
    let target = receiver.target().await?;
    let datasets = received.parts.iter().map(|(part, dataset)| (dataset.clone(), part.guid.clone())).collect();
    let prune = Prune { zfs: receiver.zfs.clone(), datasets, target, keep: receiver.keep, anchor: None };
    match &receiver.goal {
        Goal::Into(_) => {
            cx.after_commit(prune)?;
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

fn collect(receiver: &Receiver, headers: &[StreamHeader]) -> Result<Received> {
    let parts = headers.iter().map(|header| Ok((header.part.clone(), receiver.dataset(&header.part)?)));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    // Every header carries those of its whole set.
    let left_out = headers.first().map(|header| header.left_out.clone()).unwrap_or_default();
    let named = |left: LeftOut| receiver.dataset_of(&left.dataset, false).map(|name| (left, name));
    let left_out = left_out.into_iter().map(named).collect::<Result<Vec<_>>>()?;
    Ok(Received { zfs: receiver.zfs.clone(), parts, left_out })
}

/// A new copy is made read-only and kept from being mounted, where `zfs receive` could not.
async fn keep_pristine(zfs: &Zfs, dataset: &str) -> Result<()> {
    if zfs.features().await?.receive_properties {
        return Ok(());
    }
    for property in ["mountpoint=none"].iter().chain(&PRISTINE) {
        if let Some((property, value)) = property.split_once('=') {
            zfs.set(dataset, property, value).await?;
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
