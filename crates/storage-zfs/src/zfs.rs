//! The `zfs` program on a host, one method for each thing that is asked of it.

mod ask;
mod error;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::host::{Command, Host};
use reseed_core::undo::by_name;
use reseed_storage::busy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::OnceCell;

#[cfg(test)]
pub(crate) use ask::SNAPSHOTS;
pub(crate) use ask::{Allowed, MOUNTS};
pub(crate) use error::ZfsError;

use crate::name;
use crate::parse::{Features, Said};

/// How long something that is busy is waited for. A file system in user space lets go of a mount
/// only some time after `zfs unmount` has returned, and of a receive only some time after its end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried meanwhile: somebody may be waiting for a server.
const INTERVAL: Duration = Duration::from_millis(10);

type Result<T, E = ZfsError> = std::result::Result<T, E>;

/// `zfs` on one host.
#[derive(Debug, Clone)]
pub(crate) struct Zfs {
    host: Arc<dyn Host>,
    features: Arc<OnceCell<Features>>,
    root: Arc<OnceCell<bool>>,
}

/// A record of it is the host's name.
impl Serialize for Zfs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name::serialize(&self.host, serializer)
    }
}

impl<'de> Deserialize<'de> for Zfs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_name::deserialize(deserializer).map(|host| Self::on(&host))
    }
}

impl Zfs {
    /// The program on this host.
    pub(crate) fn on(host: &Arc<dyn Host>) -> Self {
        Self { host: Arc::clone(host), features: Arc::default(), root: Arc::default() }
    }

    /// The host.
    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// A command as it is run: `flags` first, then names, which must be names.
    pub(crate) fn command(flags: &[&str], names: &[&str]) -> Result<Command> {
        if let Some((bad, why)) = names.iter().find_map(|name| Some((name, name::wrong(name)?))) {
            return Err(ZfsError::Name { name: (*bad).to_owned(), why });
        }
        Ok(Command::new("zfs").args(flags.iter().copied()).args(names.iter().copied()).as_root())
    }

    /// Runs a command and gives what it printed.
    pub(crate) async fn run(&self, flags: &[&str], names: &[&str]) -> Result<String> {
        let command = Self::command(flags, names)?.to_its_end();
        let shown = command.to_string();
        let output = self.host.output(command).await.map_err(ZfsError::Host)?;
        if output.exit.success() {
            return Ok(output.text());
        }
        let text = output.exit.stderr();
        Err(ZfsError::Said {
            said: Said::read(&text),
            command: shown,
            host: self.host.name().to_owned(),
            subject: names.first().copied().unwrap_or_default().to_owned(),
            text,
        })
    }

    /// Runs a command again while its subject is busy, and is content with `fine`.
    async fn patiently(&self, flags: &[&str], names: &[&str], fine: &[Said]) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.run(flags, names).await {
                Err(error) if error.said() == Some(Said::Busy) && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(INTERVAL).await;
                }
                Err(error) if error.said().is_some_and(|said| fine.contains(&said)) => return Ok(()),
                done => return done.map(drop),
            }
        }
    }

    /// Creates a file system with properties.
    pub(crate) async fn create(&self, dataset: &str, properties: &[(String, String)]) -> Result<()> {
        let options = options(properties);
        self.run(&flags("create", &options), &[dataset]).await.map(drop)
    }

    /// Clones a snapshot with properties.
    pub(crate) async fn clone_of(&self, snapshot: &str, dataset: &str, properties: &[(String, String)]) -> Result<()> {
        let options = options(properties);
        self.run(&flags("clone", &options), &[snapshot, dataset]).await.map(drop)
    }

    /// Destroys a dataset or snapshot and, with `tree`, all that is under it. Clones of others are
    /// never destroyed. Nothing there is fine.
    pub(crate) async fn destroy(&self, name: &str, tree: bool) -> Result<()> {
        let flags: &[&str] = if tree { &["destroy", "-r"] } else { &["destroy"] };
        self.patiently(flags, &[name], &[Said::NotThere]).await
    }

    /// Destroys a snapshot, unless clones came from it; whether it did. Nothing there is fine.
    pub(crate) async fn destroy_unless_cloned(&self, snapshot: &str) -> Result<bool> {
        match self.destroy(snapshot, false).await {
            Err(error) if error.said() == Some(Said::HasClones) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Unmounts a file system. Not mounted is fine.
    pub(crate) async fn unmount(&self, dataset: &str) -> Result<()> {
        self.patiently(&["unmount"], &[dataset], &[Said::NotMounted]).await
    }

    /// Mounts a file system where its property says, and waits until it is there. Mounted is fine.
    pub(crate) async fn mount(&self, dataset: &str) -> Result<()> {
        self.patiently(&["mount"], &[dataset], &[Said::AlreadyMounted]).await?;
        let begun = Instant::now();
        while self.mounts().await?.path_of(dataset).is_none() {
            if begun.elapsed() > PATIENCE {
                return Err(ZfsError::NotMounted(dataset.to_owned()));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Renames a dataset and all that is under it.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.patiently(&["rename"], &[from, to], &[]).await
    }

    /// Sets a property.
    pub(crate) async fn set(&self, name: &str, property: &str, value: &str) -> Result<()> {
        self.patiently(&["set", &format!("{property}={value}")], &[name], &[]).await
    }

    /// Sets several properties, each `property=value`, in one command where this `zfs` can.
    pub(crate) async fn set_several(&self, name: &str, all: &[String]) -> Result<()> {
        let at_once = if self.features().await?.many_properties { all.len() } else { 1 };
        for some in all.chunks(at_once.max(1)) {
            let flags: Vec<_> = std::iter::once("set").chain(some.iter().map(String::as_str)).collect();
            self.patiently(&flags, &[name], &[]).await?;
        }
        Ok(())
    }

    /// Sets a property of several datasets in one command.
    pub(crate) async fn set_all(&self, names: &[&str], property: &str, value: &str) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.patiently(&["set", &format!("{property}={value}")], names, &[]).await
    }

    /// Gives up what is kept of a cut-off receive. Nothing kept is fine.
    pub(crate) async fn give_up_partial(&self, dataset: &str) -> Result<()> {
        self.patiently(&["receive", "-A"], &[dataset], &[Said::NoPartial, Said::NotThere]).await
    }

    /// Lets a property be inherited.
    pub(crate) async fn inherit(&self, name: &str, property: &str) -> Result<()> {
        self.patiently(&["inherit", property], &[name], &[]).await
    }

    /// Makes a clone the owner of the snapshots that it came from.
    pub(crate) async fn promote(&self, dataset: &str) -> Result<()> {
        self.patiently(&["promote"], &[dataset], &[]).await
    }

    /// Takes a dataset back to a snapshot and destroys the newer ones.
    pub(crate) async fn rollback(&self, snapshot: &str) -> Result<()> {
        self.patiently(&["rollback", "-r"], &[snapshot], &[]).await
    }

    /// Waits until no process receives into a dataset, one snapshot of it or several. One that was ended may
    /// outlive its end: on another machine, or in the kernel.
    pub(crate) async fn received(&self, dataset: &str) -> Result<()> {
        for name in [format!("{dataset}@"), format!("{dataset} ")] {
            busy::received(self.host.as_ref(), "zfs receive", &name).await.map_err(ZfsError::Host)?;
        }
        Ok(())
    }

    /// Puts a hold on a snapshot; `false` where it is there, or where this `zfs` or this user can't.
    pub(crate) async fn hold(&self, snapshot: &str, tag: &str) -> Result<bool> {
        self.hold_or_release("hold", snapshot, tag).await
    }

    /// Takes a hold off a snapshot; `false` where it is not there, or where this `zfs` or this user can't.
    pub(crate) async fn release(&self, snapshot: &str, tag: &str) -> Result<bool> {
        self.hold_or_release("release", snapshot, tag).await
    }

    /// Bookmarks a snapshot; `false` where this `zfs`, this pool or this user can't. There already is fine.
    pub(crate) async fn bookmark(&self, snapshot: &str, name: &str) -> Result<bool> {
        match self.patiently(&["bookmark"], &[snapshot, name], &[Said::Exists]).await {
            Err(error) if matches!(error.said(), Some(Said::Unsupported | Said::Denied | Said::OldPool)) => Ok(false),
            done => done.map(|()| true),
        }
    }

    async fn hold_or_release(&self, verb: &str, snapshot: &str, tag: &str) -> Result<bool> {
        match self.patiently(&[verb, tag], &[snapshot], &[]).await {
            Err(error) if matches!(error.said(), Some(Said::SameHold | Said::Unsupported | Said::Denied)) => Ok(false),
            done => done.map(|()| true),
        }
    }
}

/// `-o` and `property=value` in turn.
fn options(properties: &[(String, String)]) -> Vec<String> {
    properties.iter().flat_map(|(property, value)| ["-o".to_owned(), format!("{property}={value}")]).collect()
}

fn flags<'o>(verb: &'o str, options: &'o [String]) -> Vec<&'o str> {
    std::iter::once(verb).chain(options.iter().map(String::as_str)).collect()
}
