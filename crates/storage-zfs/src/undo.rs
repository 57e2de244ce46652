//! How each act of this crate is taken back. Each of these is content with finding nothing to do.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::parse::Snapshot;
use crate::several;
use crate::zfs::Zfs;

/// Destroying and promoting may have to wait for the pool.
const DEADLINE: Duration = Duration::from_secs(300);

/// What of a cut-off receive an undo leaves, because the next run goes on with it. That is decided by what
/// is there when it is done: another process, long after this one, comes to the same.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Identity of the snapshot that is received, if a part of it may stay.
    part_of: Option<String>,
    /// What was left, for the report alone.
    #[serde(skip)]
    told: OnceLock<String>,
}

impl Kept {
    /// A part of the snapshot of this identity stays, if that `may` be.
    pub(crate) fn part_of(guid: &str, may: bool) -> Self {
        Self { part_of: may.then(|| guid.to_owned()), told: OnceLock::new() }
    }

    fn is_nothing(&self) -> bool {
        self.part_of.is_none()
    }

    /// Whether a part of the snapshot that was received, or of one that its stream brings `before` it, is in a
    /// dataset, and stays. Part of another one is given up.
    async fn in_it(&self, zfs: &Zfs, dataset: &str, before: &[String]) -> Result<bool> {
        let Some(wanted) = &self.part_of else { return Ok(false) };
        let Some(token) = zfs.token(dataset).await? else { return Ok(false) };
        if token.to_guid != *wanted && !before.contains(&token.to_guid) {
            zfs.give_up_partial(dataset).await?;
            return Ok(false);
        }
        let (host, bytes) = (zfs.host().name(), token.bytes);
        let text = format!("keep what arrived in {dataset} on {host} ({bytes} bytes): the next run goes on there");
        let _ = self.told.set(text);
        Ok(true)
    }

    /// As [`in_it`](Self::in_it), but for a dataset that would go with all below it: those below were
    /// decided about before, and what they kept needs this one.
    async fn in_tree(&self, zfs: &Zfs, dataset: &str) -> Result<bool> {
        if self.part_of.is_none() {
            return Ok(false);
        }
        let below = zfs.partials(dataset).await?.into_iter().find(|name| name != dataset);
        let Some(below) = below else { return self.in_it(zfs, dataset, &[]).await };
        let _ = self.told.set(format!("keep {dataset} on {} for what arrived in {below}", zfs.host().name()));
        Ok(true)
    }

    /// What was left, or else what is undone.
    fn or(&self, undone: String) -> String {
        self.told.get().cloned().unwrap_or(undone)
    }
}

/// Destroys a snapshot that this run made, with `tree` also those of the same name below, whether
/// or not the topmost is still there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DestroySnapshot {
    /// Where.
    pub(crate) zfs: Zfs,
    /// The dataset.
    pub(crate) dataset: String,
    /// The snapshot's name without the dataset.
    pub(crate) short: String,
    /// Whether those of datasets below were made too.
    pub(crate) tree: bool,
    /// Where each dataset is received, if what arrives before a cut is kept there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receiver: Option<Receiver>,
    /// What was kept.
    #[serde(skip)]
    pub(crate) kept: Kept,
}

/// Where snapshots are received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Receiver {
    /// The machine.
    pub(crate) zfs: Zfs,
    /// Dataset of the source, dataset of the target.
    pub(crate) datasets: Vec<(String, String)>,
    /// The tag of holds for this target.
    pub(crate) tag: String,
}

impl DestroySnapshot {
    /// Why a snapshot is still needed, if it is: the receiver kept a part of it, or all of it, or can't be
    /// asked. Receiving is undone before this, so that what is there now stays.
    async fn needed(&self, dataset: &str) -> Result<Option<&'static str>> {
        let Some(receiver) = &self.receiver else { return Ok(None) };
        let Some((_, target)) = receiver.datasets.iter().find(|(source, _)| source == dataset) else {
            return Ok(None);
        };
        let Some(guid) = self.zfs.guid(&format!("{dataset}@{}", self.short)).await? else { return Ok(None) };
        Ok(receiver.needs(target, &guid).await)
    }

    /// Holds the snapshot, as far as this user can.
    async fn keep(&self, dataset: &str, why: &str) {
        let name = format!("{dataset}@{}", self.short);
        if let Some(receiver) = &self.receiver {
            let _ = self.zfs.hold(&name, &receiver.tag).await;
        }
        let host = self.zfs.host().name();
        let _ = self.kept.told.set(format!("keep {name} on {host}: {why}"));
    }
}

impl Receiver {
    /// Why a dataset of the target needs the source's snapshot of this identity, if it does.
    async fn needs(&self, target: &str, guid: &str) -> Option<&'static str> {
        let there = tokio::try_join!(self.zfs.token(target), self.zfs.snapshots(target));
        let Ok((token, snapshots)) = there else {
            return Some("the target can't be asked whether a part of it arrived");
        };
        match token {
            Some(token) if token.to_guid == guid => Some("the next run goes on with what arrived"),
            _ => snapshots.iter().any(|one| one.guid == guid).then_some("the target holds it, and no newer one"),
        }
    }
}

register_undo!("zfs-destroy-snapshot", DestroySnapshot);

#[async_trait]
impl Undo for DestroySnapshot {
    fn describe(&self) -> String {
        let all = if self.tree { " and those below" } else { "" };
        self.kept.or(format!("destroy the snapshot {}@{}{all} on {}", self.dataset, self.short, self.zfs.host().name()))
    }

    fn by_hand(&self) -> String {
        let (dataset, short) = (&self.dataset, &self.short);
        match self.tree {
            true => {
                format!("zfs list -H -o name -t snapshot -r {dataset} | grep '@{short}$' | xargs -n 1 zfs destroy")
            }
            false => format!("zfs destroy {dataset}@{short}"),
        }
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        let datasets = match self.tree {
            true => self.zfs.filesystems(&self.dataset).await?.into_iter().map(|one| one.name).collect(),
            false => vec![self.dataset.clone()],
        };
        for dataset in datasets {
            let name = format!("{dataset}@{}", self.short);
            match self.needed(&dataset).await? {
                Some(why) => self.keep(&dataset, why).await,
                None => self.zfs.destroy(&name, false).await?,
            }
        }
        Ok(())
    }
}

/// Destroys a dataset that this run made, and whatever this run put below it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DestroyDataset {
    /// Where.
    pub(crate) zfs: Zfs,
    /// The dataset's name.
    pub(crate) name: String,
    /// Identity of a dataset that may bear this name and must not be touched: the one whose place
    /// it took.
    pub(crate) spare: Option<String>,
    /// A dataset that stepped aside and gave its snapshots away: it gets them back first.
    pub(crate) promote: Option<String>,
    /// Whether what arrived before a cut stays in it.
    #[serde(default, skip_serializing_if = "Kept::is_nothing")]
    pub(crate) kept: Kept,
}

impl DestroyDataset {
    /// Of a dataset whose name was free.
    pub(crate) fn new(zfs: &Zfs, name: &str) -> Self {
        Self { zfs: zfs.clone(), name: name.to_owned(), spare: None, promote: None, kept: Kept::default() }
    }

    /// The same, but what arrived before a cut stays, as `kept` says.
    pub(crate) fn unless(self, kept: Kept) -> Self {
        Self { kept, ..self }
    }

    async fn give_back(&self, aside: &str) -> Result<()> {
        let prefix = format!("{}@", self.name);
        let all = self.zfs.filesystems(aside).await?;
        let origin = all.iter().find(|one| one.name == aside).and_then(|one| one.origin.as_deref());
        if origin.is_some_and(|origin| origin.starts_with(&prefix)) {
            self.zfs.promote(aside).await?;
        }
        Ok(())
    }
}

register_undo!("zfs-destroy-dataset", DestroyDataset);

#[async_trait]
impl Undo for DestroyDataset {
    fn describe(&self) -> String {
        self.kept.or(format!("destroy the dataset {} on {}", self.name, self.zfs.host().name()))
    }

    fn by_hand(&self) -> String {
        match &self.promote {
            Some(aside) => format!("zfs promote {aside}; zfs destroy -r {}", self.name),
            None => format!("zfs destroy -r {}", self.name),
        }
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        self.zfs.received(&self.name).await?;
        if self.spare.is_some() && self.zfs.guid(&self.name).await? == self.spare {
            return Ok(());
        }
        if self.kept.in_tree(&self.zfs, &self.name).await? {
            return Ok(());
        }
        if let Some(aside) = &self.promote {
            self.give_back(aside).await?;
        }
        Ok(self.zfs.destroy(&self.name, true).await?)
    }
}

/// Unmounts datasets that this run mounted, before they are destroyed one by one: one may be mounted
/// inside another that is not above it by name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unmount {
    /// Where.
    pub(crate) zfs: Zfs,
    /// Each dataset, and the identity of one that may bear its name and must not be touched; those
    /// that others are mounted inside come first.
    pub(crate) datasets: Vec<(String, Option<String>)>,
}

register_undo!("zfs-unmount", Unmount);

#[async_trait]
impl Undo for Unmount {
    fn describe(&self) -> String {
        let names: Vec<_> = self.datasets.iter().map(|(name, _)| name.as_str()).collect();
        format!("unmount {} on {}", names.join(", "), self.zfs.host().name())
    }

    fn by_hand(&self) -> String {
        let commands = self.datasets.iter().rev().map(|(name, _)| format!("zfs unmount {name}"));
        commands.collect::<Vec<_>>().join("; ")
    }

    async fn undo(&self) -> Result<()> {
        for (name, spare) in self.datasets.iter().rev() {
            let now = self.zfs.guid(name).await?;
            if now.is_some() && now != *spare {
                self.zfs.unmount(name).await?;
            }
        }
        Ok(())
    }
}

/// Takes a dataset that received an increment back to the snapshot that the increment began at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RollBack {
    /// Where.
    pub(crate) zfs: Zfs,
    /// The dataset.
    pub(crate) dataset: String,
    /// Identity of the snapshot that it was at.
    pub(crate) base: String,
    /// The same snapshot's name without the dataset.
    pub(crate) base_name: String,
    /// Identity of the snapshot that was received.
    pub(crate) received: String,
    /// Identities of the snapshots that the same stream brings before that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) between: Vec<String>,
    /// The name of the target, for those of them that stay.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) target: String,
    /// Whether what arrived before a cut stays in it.
    #[serde(default, skip_serializing_if = "Kept::is_nothing")]
    pub(crate) kept: Kept,
}

register_undo!("zfs-roll-back", RollBack);

#[async_trait]
impl Undo for RollBack {
    fn describe(&self) -> String {
        self.kept.or(format!("take {} on {} back to @{}", self.dataset, self.zfs.host().name(), self.base_name))
    }

    fn by_hand(&self) -> String {
        format!("zfs rollback -r {}@{}", self.dataset, self.base_name)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// A receive that was ended may still be at work, and may yet succeed where it had got all of
    /// its stream. A rollback puts an end to it, whether or not there is anything to take back yet. Where a part
    /// of one of several snapshots stays, so do those that came whole before it.
    async fn undo(&self) -> Result<()> {
        self.zfs.received(&self.dataset).await?;
        let came = self.newer().await?.1;
        let is_part = came.len() <= several::MOST && came.iter().all(|one| self.between.contains(&one.guid));
        if is_part && self.kept.in_it(&self.zfs, &self.dataset, &self.between).await? {
            if !came.is_empty() {
                several::note(&self.zfs, &self.dataset, &came).await?;
                several::mark(&self.zfs, &came, &self.between, &self.target).await?;
            }
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let base = self.judge().await?;
            self.zfs.rollback(&base).await?;
            if self.newer().await?.1.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE / 2 {
                return Err(Error::failed(format!("{} does not stay at {base}", self.dataset)));
            }
        }
    }
}

impl RollBack {
    /// The base's whole name, if nothing but what was received is newer.
    async fn judge(&self) -> Result<String> {
        let (base, newer) = self.newer().await?;
        match newer.iter().find(|one| one.guid != self.received && !self.between.contains(&one.guid)) {
            Some(_) => Err(foreign(&newer)),
            None => Ok(base),
        }
    }

    /// The base's whole name, and the snapshots that are newer.
    async fn newer(&self) -> Result<(String, Vec<Snapshot>)> {
        let snapshots = self.zfs.snapshots(&self.dataset).await?;
        let mut snapshots: Vec<_> = snapshots.into_iter().filter(|snapshot| !snapshot.is_bookmark()).collect();
        let Some(at) = snapshots.iter().position(|snapshot| snapshot.guid == self.base) else {
            return Err(Error::failed(format!("{}@{} is gone", self.dataset, self.base_name)));
        };
        let newer = snapshots.split_off(at + 1);
        Ok((snapshots.remove(at).name, newer))
    }
}

fn foreign(newer: &[Snapshot]) -> Error {
    let names: Vec<_> = newer.iter().map(|snapshot| snapshot.name.as_str()).collect();
    Error::failed(format!("snapshots that this run did not make are in the way: {}", names.join(", ")))
}

#[cfg(test)]
mod tests;
