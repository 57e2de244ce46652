//! How each act of this crate is taken back. Each of these is content with finding nothing to do.

use std::time::Duration;

use async_trait::async_trait;
use reseed_core::host::{Command, shell_quote};
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use reseed_core::{Error, Result};
use reseed_storage::busy;
use serde::{Deserialize, Serialize};

use crate::btrfs::Btrfs;

/// Deleting may have to wait for the file system.
const DEADLINE: Duration = Duration::from_secs(300);

/// Deletes a subvolume that this run made, and whatever this run put below it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteSubvolume {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// Its path.
    pub(crate) path: String,
    /// Identity of a subvolume that may be at this path and must not be touched: the one whose place
    /// it took.
    pub(crate) spare: Option<String>,
}

impl DeleteSubvolume {
    /// Of a subvolume whose path was free.
    pub(crate) fn new(btrfs: &Btrfs, path: &str) -> Self {
        Self { btrfs: btrfs.clone(), path: path.to_owned(), spare: None }
    }
}

register_undo!("btrfs-delete-subvolume", DeleteSubvolume);

#[async_trait]
impl Undo for DeleteSubvolume {
    fn describe(&self) -> String {
        format!("delete the subvolume {} on {}", self.path, self.btrfs.host().name())
    }

    fn by_hand(&self) -> String {
        format!("btrfs subvolume delete {}", shell_quote(&self.path))
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        let directory = reseed_storage::name::parent(&self.path).unwrap_or_default();
        busy::received(self.btrfs.host().as_ref(), "btrfs receive", directory).await?;
        let table = self.btrfs.table(&[&self.path]).await?;
        match table.at(&self.path) {
            Some(seen) if Some(&seen.subvolume.uuid) != self.spare.as_ref() => self.btrfs.delete(&self.path).await,
            _ => Ok(()),
        }
    }
}

/// Puts a live subvolume back to where it was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ComeBack {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// Its path.
    pub(crate) path: String,
    /// Its path aside.
    pub(crate) aside: String,
    /// Its identity.
    pub(crate) uuid: String,
}

register_undo!("btrfs-come-back", ComeBack);

#[async_trait]
impl Undo for ComeBack {
    fn describe(&self) -> String {
        format!("put {} on {} back into its place", self.path, self.btrfs.host().name())
    }

    fn by_hand(&self) -> String {
        format!("mv -T {} {}", shell_quote(&self.aside), shell_quote(&self.path))
    }

    async fn undo(&self) -> Result<()> {
        let table = self.btrfs.table(&[&self.path]).await?;
        let is = |path: &str| table.at(path).is_some_and(|seen| seen.subvolume.uuid == self.uuid);
        if is(&self.path) {
            return Ok(());
        }
        if !is(&self.aside) {
            return Err(Error::failed(format!("neither {} nor {} is what was live", self.path, self.aside)));
        }
        self.btrfs.rename(&self.aside, &self.path).await
    }
}

/// Makes an empty directory anew that had to make way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MakeDirectory {
    /// Where.
    pub(crate) btrfs: Btrfs,
    /// Its path.
    pub(crate) path: String,
    /// Its owner and group, with `:` between.
    pub(crate) owner: String,
    /// Its permission bits in octal.
    pub(crate) mode: String,
}

register_undo!("btrfs-make-directory", MakeDirectory);

#[async_trait]
impl Undo for MakeDirectory {
    fn describe(&self) -> String {
        format!("make the directory {} on {} again", self.path, self.btrfs.host().name())
    }

    fn by_hand(&self) -> String {
        let path = shell_quote(&self.path);
        format!("mkdir {path} && chown {} {path} && chmod {} {path}", self.owner, self.mode)
    }

    async fn undo(&self) -> Result<()> {
        let script = r#"[ ! -e "$1" ] || exit 0; mkdir -- "$1" && chown -- "$2" "$1" && chmod -- "$3" "$1""#;
        let command = Command::script(script).titled("mkdir").arg(&self.path).arg(&self.owner).arg(&self.mode);
        self.btrfs.run(command).await.map(drop)
    }
}
