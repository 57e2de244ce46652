//! How each act of this crate is taken back. Each of these is content with finding nothing to do.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use reseed_core::undo::Undo;
use reseed_core::{Error, Result};

use crate::parse::Snapshot;
use crate::zfs::Zfs;

/// Destroying and promoting may have to wait for the pool.
const DEADLINE: Duration = Duration::from_secs(300);

/// Destroys a snapshot that this run made, with `tree` also those of the same name below.
#[derive(Debug)]
pub(crate) struct DestroySnapshot {
    /// Where.
    pub(crate) zfs: Zfs,
    /// `dataset@snapshot`.
    pub(crate) name: String,
    /// Whether those of datasets below were made too.
    pub(crate) tree: bool,
}

#[async_trait]
impl Undo for DestroySnapshot {
    fn describe(&self) -> String {
        format!("destroy the snapshot {} on {}", self.name, self.zfs.host().name())
    }

    fn by_hand(&self) -> String {
        format!("zfs destroy {}{}", if self.tree { "-r " } else { "" }, self.name)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        Ok(self.zfs.destroy(&self.name, self.tree).await?)
    }
}

/// Destroys a dataset that this run made, and whatever this run put below it.
#[derive(Debug)]
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
}

impl DestroyDataset {
    /// Of a dataset whose name was free.
    pub(crate) fn new(zfs: &Zfs, name: &str) -> Self {
        Self { zfs: zfs.clone(), name: name.to_owned(), spare: None, promote: None }
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

#[async_trait]
impl Undo for DestroyDataset {
    fn describe(&self) -> String {
        format!("destroy the dataset {} on {}", self.name, self.zfs.host().name())
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
        self.zfs.received(&format!("{}@", self.name)).await?;
        if self.spare.is_some() && self.zfs.guid(&self.name).await? == self.spare {
            return Ok(());
        }
        if let Some(aside) = &self.promote {
            self.give_back(aside).await?;
        }
        Ok(self.zfs.destroy(&self.name, true).await?)
    }
}

/// Takes a dataset that received an increment back to the snapshot that the increment began at.
#[derive(Debug)]
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
}

#[async_trait]
impl Undo for RollBack {
    fn describe(&self) -> String {
        format!("take {} on {} back to @{}", self.dataset, self.zfs.host().name(), self.base_name)
    }

    fn by_hand(&self) -> String {
        format!("zfs rollback -r {}@{}", self.dataset, self.base_name)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// A receive that was ended may still be at work, and may yet succeed where it had got all of
    /// its stream. A rollback puts an end to it, whether or not there is anything to take back yet.
    async fn undo(&self) -> Result<()> {
        self.zfs.received(&format!("{}@", self.dataset)).await?;
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
        match newer.iter().find(|one| one.guid != self.received) {
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

/// Removes the directories under which copies were mounted. Never removes a file.
#[derive(Debug)]
pub(crate) struct RemoveDirectory {
    /// Where.
    pub(crate) zfs: Zfs,
    /// The topmost one.
    pub(crate) path: String,
    /// The directory that it is in; it goes too where nothing else is in it.
    pub(crate) base: &'static str,
}

/// Removes empty directories of one file system, the deepest first.
const REMOVE_EMPTY: &str = r#"[ ! -d "$1" ] || find "$1" -xdev -depth -type d -exec rmdir {} \; 2>/dev/null
rmdir "$2" 2>/dev/null; [ ! -e "$1" ]"#;

impl RemoveDirectory {
    /// Removes them.
    pub(crate) async fn remove(&self) -> Result<()> {
        let command = reseed_core::host::Command::script(REMOVE_EMPTY).arg(&self.path).arg(self.base).as_root();
        let output = self.zfs.host().output(command).await?;
        match output.exit.success() {
            true => Ok(()),
            false => Err(Error::failed(format!("{} on {} is not empty", self.path, self.zfs.host().name()))),
        }
    }
}

#[async_trait]
impl Undo for RemoveDirectory {
    fn describe(&self) -> String {
        format!("remove the directory {} on {}", self.path, self.zfs.host().name())
    }

    fn by_hand(&self) -> String {
        format!("find {} -xdev -depth -type d -empty -delete", self.path)
    }

    async fn undo(&self) -> Result<()> {
        self.remove().await
    }
}
