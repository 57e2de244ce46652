//! How each act of this crate is taken back. Each of these is content with finding nothing to do.

use std::time::Duration;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::{Command, shell_quote};
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Removing many files takes its time.
const DEADLINE: Duration = Duration::from_secs(600);

/// Removes the tree `$1`, unless its inode is `$2`. What a killed program still writes there is gone
/// after the next attempt.
const REMOVE: &str = r#"[ -e "$1" ] || exit 0
inode() { stat -c %i -- "$1" 2>/dev/null || stat -f %i -- "$1"; }
[ -z "$2" ] || [ "$(inode "$1")" != "$2" ] || { echo "$1 is what was live before" >&2; exit 1; }
n=0; until rm -rf -- "$1"; do n=$((n + 1)); [ $n -lt 20 ] || exit 1; sleep 0.1; done"#;

/// Removes a directory tree that this run made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveTree {
    pub(crate) store: Store,
    pub(crate) path: String,
    /// Inode of a directory that may come to bear this name and must not be touched.
    pub(crate) spare: String,
}

register_undo!("dir-remove-tree", RemoveTree);

#[async_trait]
impl Undo for RemoveTree {
    fn describe(&self) -> String {
        format!("remove {} on {}", self.path, self.store.host.name())
    }

    fn by_hand(&self) -> String {
        format!("rm -rf {}", shell_quote(&self.path))
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn undo(&self) -> Result<()> {
        let remove = Command::script(REMOVE).titled("remove").arg(&self.path).arg(&self.spare);
        self.store.host.run(remove.as_root()).await.map(drop)
    }
}

/// Removes the store `$1` with its mark, if nothing else is in it; `$2` says to leave the directory.
const REMOVE_STORE: &str = r#"[ -d "$1" ] || exit 0
left=$(ls -A -- "$1")
[ "$left" = .reseed ] || [ -z "$left" ] || exit 0
rm -f -- "$1/.reseed"; [ "$2" = empty ] || rmdir -- "$1""#;

/// Removes a store that this run made, if nothing else has come to be in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveStore {
    pub(crate) store: Store,
    /// Whether an empty directory was there before.
    pub(crate) was_empty: bool,
}

register_undo!("dir-remove-store", RemoveStore);

#[async_trait]
impl Undo for RemoveStore {
    fn describe(&self) -> String {
        format!("remove {} on {}, if it is empty", self.store.path, self.store.host.name())
    }

    fn by_hand(&self) -> String {
        format!("rm {}; rmdir {}", shell_quote(&self.store.mark()), shell_quote(&self.store.path))
    }

    async fn undo(&self) -> Result<()> {
        let remove = Command::script(REMOVE_STORE).titled("remove-store").arg(&self.store.path);
        let remove = remove.arg(if self.was_empty { "empty" } else { "absent" });
        self.store.host.run(remove.as_root()).await.map(drop)
    }
}

/// Takes the copy (inode `$5`) away from `$1`, back to `$2`, and moves what was live (inode `$4`, or
/// empty) back from where it is: `$2` or `$3`.
const MOVE_BACK: &str = r#"set -e; live=$1; copy=$2; aside=$3; was=$4; new=$5
is() { [ -n "$2" ] && [ -d "$1" ] && [ "$(stat -c %i -- "$1" 2>/dev/null || stat -f %i -- "$1")" = "$2" ]; }
is "$live" "$was" && exit 0
if is "$copy" "$was"; then
  [ ! -e "$aside" ] || { echo "$aside is in the way" >&2; exit 1; }
  mv -- "$copy" "$aside"
fi
if is "$live" "$new"; then mv -- "$live" "$copy"; fi
if [ -n "$was" ]; then
  is "$aside" "$was" || { echo "neither $live nor $aside is the directory that was live" >&2; exit 1; }
  [ ! -e "$live" ] || { echo "something else is at $live" >&2; exit 1; }
  mv -- "$aside" "$live"
fi
sync -- "$(dirname -- "$live")" 2>/dev/null || sync"#;

/// Moves what was live back to its place, whatever half-way state the switch is in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MoveBack {
    pub(crate) store: Store,
    pub(crate) live: String,
    pub(crate) copy: String,
    pub(crate) aside: String,
    /// Inode of what was live; empty if nothing was.
    pub(crate) was: String,
    /// Inode of the copy.
    pub(crate) new: String,
}

register_undo!("dir-move-back", MoveBack);

#[async_trait]
impl Undo for MoveBack {
    fn describe(&self) -> String {
        match self.was.is_empty() {
            true => format!("take the copy away from {} on {}", self.live, self.store.host.name()),
            false => format!("put {} on {} back into its place", self.live, self.store.host.name()),
        }
    }

    fn by_hand(&self) -> String {
        let [live, copy, aside] = [&self.live, &self.copy, &self.aside].map(|path| shell_quote(path));
        match self.was.is_empty() {
            true => format!("mv {live} {copy}"),
            false => format!("mv {live} {copy}; mv {aside} {live}"),
        }
    }

    async fn undo(&self) -> Result<()> {
        let back = Command::script(MOVE_BACK).titled("move-back");
        let back = back.args([&self.live, &self.copy, &self.aside, &self.was, &self.new].map(Clone::clone));
        self.store.host.run(back.as_root()).await.map(drop)
    }
}
