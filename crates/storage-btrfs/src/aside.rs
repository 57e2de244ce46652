//! The live subvolumes step aside for a copy, and go when their time is over.

use std::time::Duration;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::stage::StageCx;
use reseed_core::undo::Chore;
use reseed_storage::keep::now;
use reseed_storage::name::{self, ASIDE};
use serde::{Deserialize, Serialize};

use crate::btrfs::Btrfs;
use crate::undo::{ComeBack, MakeDirectory};

/// What the name of the file ends with that says, in seconds since 1970, when the subvolume beside it
/// may be deleted.
const EXPIRES: &str = ".expires";

/// Prints each file of that sort that belongs to the live subvolume `$1`, with what it says.
const LIST: &str = r#"for f in "$1$2"*"$3"; do [ -f "$f" ] && printf '%s %s\n' "$(cat -- "$f")" "$f"; done; :"#;

/// Renames a live subvolume aside. After the commit it goes, or is kept for a while.
pub(crate) async fn step_aside(btrfs: &Btrfs, path: &str, uuid: &str, keep: Duration, cx: &StageCx) -> Result<()> {
    let aside = name::aside(path, cx.run_id());
    cx.after_commit(Retire { btrfs: btrfs.clone(), aside: aside.clone(), keep })?;
    cx.after_commit(Expire { btrfs: btrfs.clone(), live: path.to_owned() })?;
    let (path, uuid) = (path.to_owned(), uuid.to_owned());
    cx.arm(ComeBack { btrfs: btrfs.clone(), path: path.clone(), aside: aside.clone(), uuid })?;
    btrfs.rename(&path, &aside).await
}

/// Removes an empty directory where a copy goes.
pub(crate) async fn make_way(btrfs: &Btrfs, path: &str, cx: &StageCx) -> Result<()> {
    let Some(is) = btrfs.host().files().attributes(path).await? else { return Ok(()) };
    let (owner, mode) = (format!("{}:{}", is.owner, is.group), format!("{:o}", is.mode));
    cx.arm(MakeDirectory { btrfs: btrfs.clone(), path: path.to_owned(), owner, mode })?;
    btrfs.run(Command::new("rmdir").args(["--", path])).await.map(drop)
}

/// Deletes what stepped aside, or marks until when it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Retire {
    btrfs: Btrfs,
    aside: String,
    keep: Duration,
}

register_chore!("btrfs-retire", Retire);

#[async_trait]
impl Chore for Retire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.btrfs.host()))
    }

    fn describe(&self) -> String {
        let (aside, host) = (&self.aside, self.btrfs.host().name());
        match self.keep.is_zero() {
            true => format!("delete {aside} on {host}"),
            false => format!("keep {aside} on {host} for {} s", self.keep.as_secs()),
        }
    }

    async fn perform(&self) -> Result<Option<String>> {
        let aside = &self.aside;
        if self.keep.is_zero() {
            self.btrfs.delete(aside).await?;
            return Ok(Some(format!("deleted {aside}, which was live before")));
        }
        let expires = format!("{}\n", now() + self.keep.as_secs());
        self.btrfs.host().files().write(&format!("{aside}{EXPIRES}"), expires.as_bytes(), 0o644).await?;
        Ok(Some(format!("kept {aside}, which was live before; a run after {} s deletes it", self.keep.as_secs())))
    }
}

/// Deletes what earlier runs set aside for a live subvolume, once its time is over.
#[derive(Debug, Serialize, Deserialize)]
struct Expire {
    btrfs: Btrfs,
    live: String,
}

register_chore!("btrfs-expire", Expire);

#[async_trait]
impl Chore for Expire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.btrfs.host()))
    }

    fn describe(&self) -> String {
        format!("delete expired {}{ASIDE}… on {}", self.live, self.btrfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let list = Command::script(LIST).titled("expired").args([self.live.as_str(), ASIDE, EXPIRES]);
        let text = self.btrfs.run(list).await?;
        let mut gone = vec![];
        for file in text.lines().filter_map(|line| expired(line, now())) {
            let path = file.trim_end_matches(EXPIRES);
            self.btrfs.delete(path).await?;
            self.btrfs.run(Command::new("rm").args(["-f", "--", file])).await?;
            gone.push(path.to_owned());
        }
        Ok((!gone.is_empty()).then(|| format!("deleted {}, whose time was over", gone.join(", "))))
    }
}

/// What stands aside for a live subvolume and is dated: its path, and when it may be deleted, in seconds since
/// 1970.
pub(crate) async fn expiries(btrfs: &Btrfs, live: &str) -> Result<Vec<(String, u64)>> {
    let list = Command::script(LIST).titled("expired").args([live, ASIDE, EXPIRES]);
    let text = btrfs.run(list).await?;
    Ok(text.lines().filter_map(dated).map(|(until, file)| (file.trim_end_matches(EXPIRES).to_owned(), until)).collect())
}

fn dated(line: &str) -> Option<(u64, &str)> {
    let (expires, file) = line.split_once(' ')?;
    Some((expires.parse().ok()?, file))
}

/// The file of a line, if what it says is over.
fn expired(line: &str, now: u64) -> Option<&str> {
    dated(line).filter(|(expires, _)| *expires <= now).map(|(_, file)| file)
}

/// Sees to it that a crash of the machine does not bring the old state back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sync {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// A path on the file system.
    pub(crate) path: String,
}

register_chore!("btrfs-sync", Sync);

#[async_trait]
impl Chore for Sync {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(self.btrfs.host()))
    }

    fn describe(&self) -> String {
        format!("sync the file system of {} on {}", self.path, self.btrfs.host().name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.btrfs.sync(&self.path).await.map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_its_time_is_over_goes() {
        assert_eq!(expired("100 /b/pg-reseed-old-1.expires", 100), Some("/b/pg-reseed-old-1.expires"));
        assert_eq!(expired("101 /b/pg-reseed-old-1.expires", 100), None);
        assert_eq!(expired(" /b/pg-reseed-old-1.expires", 100), None);
    }
}
