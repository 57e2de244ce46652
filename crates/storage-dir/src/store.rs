//! The store: the directory in which reseed keeps what it received and what was live before.
//!
//! | name | what |
//! |---|---|
//! | `.reseed` | the mark of a store: the path of the data directory that it belongs to |
//! | `chain` | runs whose backups make up the chain, the whole one first, one a line |
//! | `backup-RUN` | a backup as it came, whole or an increment |
//! | `copy-RUN` | what becomes the live data directory |
//! | `old-RUN`, `old-RUN.expires` | what was live before, and until when it is kept |

use std::sync::Arc;

use reseed_core::host::{Command, Host};
use reseed_core::undo::by_name;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The mark of a store.
const MARK: &str = ".reseed";

/// Prints `name<TAB>value` lines about the store `$1` and the live data directory `$2`.
const INSPECT: &str = r#"say() { printf '%s\t%s\n' "$1" "$2"; }
device() { stat -L -c %d -- "$1" 2>/dev/null || stat -L -f %d -- "$1"; }
up=$1; while [ ! -d "$up" ]; do up=$(dirname -- "$up"); done
[ "$up" = "$1" ] || [ "$up" = "$(dirname -- "$1")" ] || say missing "$(dirname -- "$1")"
say path "$(cd -- "$up" && pwd -P)${1#"$up"}"
say device "$(device "$up")"
[ -w "$up" ] || say closed "$up"
if [ -d "$1" ]; then
  if [ -e "$1/.reseed" ]; then say state ours; say owner "$(cat -- "$1/.reseed")"
  elif [ -z "$(ls -A -- "$1")" ]; then say state empty
  else say state foreign; fi
elif [ -e "$1" ] || [ -L "$1" ]; then say state foreign
else say state absent; fi
above=$(dirname -- "$2")
if [ -d "$above" ]; then
  say above "$(device "$above")"
  [ -w "$above" ] || say closed "$above"
else say missing "$above"; fi
[ ! -d "$2" ] || say live "$(device "$2")""#;

/// Makes the store `$1` for the user `$2` and the data directory `$3`.
const MAKE: &str = r#"set -e; umask 077
[ -d "$1" ] || mkdir -- "$1"
[ -e "$1/.reseed" ] || printf '%s\n' "$3" > "$1/.reseed"
chmod 700 -- "$1"
[ "$(id -u)" != 0 ] || chown "$2:$(id -gn -- "$2")" "$1" "$1/.reseed""#;

/// Makes the directory `$1` for the user `$2`.
const DIRECTORY: &str = r#"set -e; mkdir -m 700 -- "$1"
[ "$(id -u)" != 0 ] || chown "$2:$(id -gn -- "$2")" "$1""#;

/// Writes a whole file system out; a directory has no end of files to sync one by one.
const SYNC: &str = r#"sync -f -- "$1" 2>/dev/null || sync"#;

/// What the store's place is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is there.
    Absent,
    /// An empty directory.
    Empty,
    /// A store, of the standby with this data directory.
    Ours(String),
    /// Something else.
    Foreign,
}

/// What was found on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// The store's path, links resolved.
    pub(crate) path: String,
    pub(crate) state: State,
    /// Number of the file system that the store is, or would be, on.
    pub(crate) device: String,
    /// Number of the file system of the directory above the live one.
    pub(crate) above: Option<String>,
    /// Number of the file system of the live directory, if it is there.
    pub(crate) live: Option<String>,
    /// Directories that must be there and are not.
    pub(crate) missing: Vec<String>,
    /// Directories that must be written to and can't be.
    pub(crate) closed: Vec<String>,
}

/// A store on a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Store {
    #[serde(with = "by_name")]
    pub(crate) host: Arc<dyn Host>,
    pub(crate) path: String,
}

impl Store {
    /// The path of the backup that a run received.
    pub(crate) fn backup(&self, run: &str) -> String {
        format!("{}/backup-{run}", self.path)
    }

    /// The path of what a run puts into place.
    pub(crate) fn copy(&self, run: &str) -> String {
        format!("{}/copy-{run}", self.path)
    }

    /// The path to which a run moves what was live.
    pub(crate) fn old(&self, run: &str) -> String {
        format!("{}/old-{run}", self.path)
    }

    /// Looks at the store and at the live data directory.
    pub(crate) async fn inspect(&self, live: &str) -> Result<Inspection> {
        let inspect = Command::script(INSPECT).titled("inspect").arg(&self.path).arg(live);
        let text = self.host.run(inspect.as_root()).await?;
        parse(&text).ok_or_else(|| Error::failed(format!("can't make out what is in {}: {text}", self.path)))
    }

    /// Makes it, for a user and a live data directory, unless it is there.
    pub(crate) async fn make(&self, user: &str, live: &str) -> Result<()> {
        let make = Command::script(MAKE).titled("make-store").arg(&self.path).arg(user).arg(live);
        self.host.run(make.as_root()).await.map(drop)
    }

    /// Makes a directory in it.
    pub(crate) async fn directory(&self, path: &str, user: &str) -> Result<()> {
        let make = Command::script(DIRECTORY).titled("mkdir").arg(path).arg(user);
        self.host.run(make.as_root()).await.map(drop)
    }

    /// Waits until everything that was written is on the disk.
    pub(crate) async fn sync(&self) -> Result<()> {
        self.host.run(Command::script(SYNC).titled("sync").arg(&self.path).as_root()).await.map(drop)
    }

    /// The path of its mark.
    pub(crate) fn mark(&self) -> String {
        format!("{}/{MARK}", self.path)
    }
}

fn parse(text: &str) -> Option<Inspection> {
    let pairs: Vec<_> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let all = |name: &str| -> Vec<String> {
        pairs.iter().filter(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()).collect()
    };
    let one = |name: &str| all(name).into_iter().next().filter(|value| !value.is_empty());
    let state = match one("state")?.as_str() {
        "absent" => State::Absent,
        "empty" => State::Empty,
        "ours" => State::Ours(one("owner").unwrap_or_default()),
        _ => State::Foreign,
    };
    Some(Inspection {
        path: one("path")?,
        state,
        device: one("device")?,
        above: one("above"),
        live: one("live"),
        missing: all("missing"),
        closed: all("closed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read() {
        let text = "path\t/data/my store\ndevice\t43\nstate\tours\nowner\t/data/pg\nabove\t43\n\
                    closed\t/data\nlive\t43\n";
        let found = parse(text).unwrap();
        assert_eq!(found.state, State::Ours("/data/pg".into()));
        assert_eq!(found.live.as_deref(), Some("43"));
        assert_eq!(found.closed, ["/data"]);
        assert_eq!(parse("path\t/a\n"), None);
    }
}
