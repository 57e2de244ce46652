//! The `btrfs` program on a host, one method for each thing that is asked of it or told to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::host::{Command, Host};
use reseed_core::stage::StageCx;
use reseed_core::undo::by_name;
use reseed_core::{Error, Result};
use reseed_storage::directory::RemoveEmpty;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::parse::{self, Filesystem, Root};
use crate::table::Table;

/// Everything about one file system in one answer; `$1` is one of its mount points.
pub(crate) const SURVEY: &str = r#"set -e
btrfs filesystem show -- "$1"; echo all
btrfs subvolume list -a -p -c -u -q -R -- "$1"; echo readonly
btrfs subvolume list -a -r -- "$1"; echo here
btrfs subvolume show -- "$1" || :"#;

/// Makes a snapshot, writable or, with `-r`, not. A directory that is in its place must be empty and
/// goes: `btrfs` itself would put the snapshot into it.
pub(crate) const SNAPSHOT: &str = r#"[ ! -d "$2" ] || rmdir -- "$2" || exit 1
[ ! -e "$2" ] && [ ! -L "$2" ] || { echo "$2 is there already" >&2; exit 1; }
from=$1 to=$2; shift 2; exec btrfs subvolume snapshot "$@" -- "$from" "$to""#;

/// Makes an empty subvolume, in the place of an empty directory if there is one.
const CREATE: &str = r#"[ ! -d "$1" ] || rmdir -- "$1" || exit 1; exec btrfs subvolume create -- "$1""#;

/// Renames; never into a directory, and never by copying: both are in one directory.
const RENAME: &str = r#"[ "$(dirname -- "$1")" = "$(dirname -- "$2")" ] || { echo "not in one directory" >&2; exit 1; }
[ ! -e "$2" ] && [ ! -L "$2" ] || { echo "$2 is there already" >&2; exit 1; }
exec mv -T -- "$1" "$2""#;

/// Makes a directory that only root sees into, and those above it.
pub(crate) const MKDIR: &str = r#"umask 077; exec mkdir -p -- "$1""#;

/// How long something that is in use is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is tried meanwhile.
const INTERVAL: Duration = Duration::from_millis(50);

/// `btrfs` on one host.
#[derive(Debug, Clone)]
pub(crate) struct Btrfs {
    host: Arc<dyn Host>,
}

/// A record of it is the host's name.
impl Serialize for Btrfs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name::serialize(&self.host, serializer)
    }
}

impl<'de> Deserialize<'de> for Btrfs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_name::deserialize(deserializer).map(|host| Self::on(&host))
    }
}

impl Btrfs {
    /// The program on this host.
    pub(crate) fn on(host: &Arc<dyn Host>) -> Self {
        Self { host: Arc::clone(host) }
    }

    /// The host.
    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Runs a command as root and gives what it printed.
    pub(crate) async fn run(&self, command: Command) -> Result<String> {
        let output = self.host.output(command.as_root()).await?;
        match output.exit.success_on(self.host.name()) {
            Ok(()) => Ok(output.text()),
            Err(error) => Err(match parse::hint(&output.exit.stderr()) {
                Some(hint) => error.hint(hint),
                None => error,
            }),
        }
    }

    /// What is mounted, and all subvolumes of the file systems that these paths lie on.
    pub(crate) async fn table(&self, paths: &[&str]) -> Result<Table> {
        let text = self.host.run(Command::new("cat").arg("/proc/self/mountinfo")).await?;
        let mut table = Table::new(parse::mounted(&text));
        for path in paths {
            if let Some(mount) = table.unread(path) {
                let (at, device) = (mount.path.clone(), mount.device.clone());
                table.add(&device, self.filesystem(&at).await?);
            }
        }
        Ok(table)
    }

    async fn filesystem(&self, mountpoint: &str) -> Result<Filesystem> {
        let text = self.run(Command::script(SURVEY).titled("btrfs subvolume list").arg(mountpoint)).await?;
        let unclear = || Error::failed(format!("can't make out what btrfs tells of {mountpoint}: {text}"));
        parse::filesystem(&text).ok_or_else(unclear)
    }

    /// Waits until what was done to a file system is on disk.
    pub(crate) async fn sync(&self, path: &str) -> Result<()> {
        self.run(Command::new("btrfs").args(["filesystem", "sync", path])).await.map(drop)
    }

    /// Takes a snapshot.
    pub(crate) async fn snapshot(&self, from: &str, to: &str, readonly: bool) -> Result<()> {
        let command = Command::script(SNAPSHOT).titled("btrfs subvolume snapshot").arg(from).arg(to);
        self.run(command.args(readonly.then_some("-r"))).await.map(drop)
    }

    /// Makes an empty subvolume.
    pub(crate) async fn create(&self, path: &str) -> Result<()> {
        self.run(Command::script(CREATE).titled("btrfs subvolume create").arg(path)).await.map(drop)
    }

    /// Deletes the subvolume that is seen at this path, and those below it. None there is fine.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let table = self.table(&[path]).await?;
        let mut all: Vec<_> = table.tree(path).map(|seen| seen.path.clone()).collect();
        if table.at(path).is_none() {
            return Ok(());
        }
        all.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in all {
            self.delete_one(&path).await?;
        }
        Ok(())
    }

    /// Deletes one subvolume. A `btrfs send` that was ended may outlive its end, and the kernel keeps
    /// what is being sent: it is waited for.
    async fn delete_one(&self, path: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.run(Command::new("btrfs").args(["subvolume", "delete", path])).await {
                Err(error) if parse::is_in_use(&error.to_string()) && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(INTERVAL).await;
                }
                done => return done.map(drop),
            }
        }
    }

    /// Renames a subvolume within its directory.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.run(Command::script(RENAME).titled("mv -T").arg(from).arg(to)).await.map(drop)
    }

    /// Takes a snapshot that goes at once: from then on every change of the subvolume can be told.
    pub(crate) async fn seal(&self, path: &str) -> Result<()> {
        let script = r#"btrfs subvolume snapshot -r -- "$1" "$2" && exec btrfs subvolume delete -- "$2""#;
        self.run(Command::script(script).titled("seal").arg(path).arg(sealing(path))).await.map(drop)
    }

    /// The roots of all subvolumes, as they are on disk. A tree that changes while it is read may not
    /// be readable; it is small, so that the next try succeeds.
    pub(crate) async fn roots(&self, path: &str, device: &str) -> Result<Vec<Root>> {
        self.sync(path).await?;
        let dump = || Command::new("btrfs").args(["inspect-internal", "dump-tree", "-t", "root", device]);
        let mut text = self.run(dump()).await;
        for _ in 0..3 {
            if text.is_ok() {
                break;
            }
            self.sync(path).await?;
            text = self.run(dump()).await;
        }
        text.map(|text| parse::roots(&text))
    }

    /// Makes a directory that only root sees into, and those above it, and arms that they go again.
    pub(crate) async fn make_directory(&self, path: &str, cx: &StageCx) -> Result<()> {
        let paths = self.missing(path).await?;
        if paths.is_empty() {
            return Ok(());
        }
        cx.arm(RemoveEmpty { host: Arc::clone(&self.host), paths })?;
        self.run(Command::script(MKDIR).titled("mkdir -p").arg(path)).await.map(drop)
    }

    /// Of a directory and those above it, the ones that are not there, the deepest first.
    async fn missing(&self, path: &str) -> Result<Vec<String>> {
        let mut missing = vec![];
        let mut next = Some(path);
        while let Some(directory) = next.filter(|directory| !directory.is_empty()) {
            if self.host.files().exists(directory).await? {
                break;
            }
            missing.push(directory.to_owned());
            next = reseed_storage::name::parent(directory);
        }
        Ok(missing)
    }
}

/// The path of the snapshot by which a subvolume is sealed.
pub(crate) fn sealing(path: &str) -> String {
    format!("{path}.seal")
}
