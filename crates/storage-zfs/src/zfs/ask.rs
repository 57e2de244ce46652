//! Questions to `zfs`, all of them read-only.

use std::collections::BTreeMap;

use reseed_core::host::Command;

use super::{Result, Zfs, ZfsError};
use crate::parse::{self, Features, Filesystem, KINDS, Mounts, Property, Rights, Said, Snapshot, Token};

/// Prints what is mounted.
pub(crate) const MOUNTS: &str = "cat /proc/self/mounts 2>/dev/null || mount -p";
/// What `zfs` is asked for snapshots with.
pub(crate) const SNAPSHOTS: &[&str] =
    &["get", "-Hp", "-d", "1", "-o", "name,property,value,source", "guid,userrefs,reseed:target"];

/// Rights of a user, as far as `zfs allow` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Root, or everything that was asked for is delegated, or this `zfs` tells nothing.
    All,
    /// The user lacks these.
    Lacks {
        /// The user.
        user: String,
        /// The rights.
        rights: Vec<String>,
    },
}

impl Zfs {
    /// What this `zfs` can do; asked once.
    pub(crate) async fn features(&self) -> Result<Features> {
        self.features.get_or_try_init(|| self.ask_features()).await.copied()
    }

    async fn ask_features(&self) -> Result<Features> {
        // Without arguments it prints its usage and exits 2.
        let output = self.host.output(Self::command(&[], &[])?).await.map_err(ZfsError::Host)?;
        Ok(Features::read(&format!("{}\n{}", output.exit.stderr(), output.text())))
    }

    /// What is mounted on the host.
    pub(crate) async fn mounts(&self) -> Result<Mounts> {
        self.host.run(Command::script(MOUNTS)).await.map(|text| Mounts::read(&text, KINDS)).map_err(ZfsError::Host)
    }

    /// A dataset and all under it, volumes too; empty where it is not there.
    pub(crate) async fn filesystems(&self, root: &str) -> Result<Vec<Filesystem>> {
        let flags = ["list", "-H", "-o", "name,origin,mountpoint,canmount,mounted", "-t", "filesystem,volume", "-r"];
        let text = self.run(&flags, &[root]).await;
        absent(text).map(|text| parse::filesystems(&text.unwrap_or_default()))
    }

    /// Snapshots and bookmarks of one dataset, the oldest first; empty where it is not there.
    pub(crate) async fn snapshots(&self, dataset: &str) -> Result<Vec<Snapshot>> {
        let text = self.run(SNAPSHOTS, &[dataset]).await;
        absent(text).map(|text| parse::snapshots(&text.unwrap_or_default(), dataset))
    }

    /// Snapshots of every pool that say for which target reseed made them, with that target.
    pub(crate) async fn made_for_targets(&self) -> Result<Vec<(String, String)>> {
        // An old `zfs` can't be asked for snapshots alone.
        let flags = ["get", "-Hp", "-s", "local", "-o", "name,property,value,source", "reseed:target"];
        let told = parse::properties(&self.run(&flags, &[]).await?).into_iter().filter(|(name, _)| name.contains('@'));
        Ok(told.filter_map(|(name, mut all)| Some((name, all.remove("reseed:target")?.value))).collect())
    }

    /// Every bookmark of every pool; none where this `zfs` has none.
    pub(crate) async fn bookmarks(&self) -> Result<Vec<String>> {
        if !self.features().await?.bookmarks {
            return Ok(vec![]);
        }
        let told = self.run(&["list", "-H", "-o", "name", "-t", "bookmark"], &[]).await?;
        Ok(told.lines().map(str::to_owned).collect())
    }

    /// As [`snapshots`](Self::snapshots), of several datasets.
    pub(crate) async fn snapshots_of(&self, datasets: &[&str]) -> Result<Vec<Vec<Snapshot>>> {
        if datasets.is_empty() {
            return Ok(vec![]);
        }
        let text = self.run(SNAPSHOTS, datasets).await;
        if let Some(text) = absent(text)? {
            return Ok(datasets.iter().map(|dataset| parse::snapshots(&text, dataset)).collect());
        }
        // One that is not there hides nothing of the others when each is asked about by itself.
        let mut all = Vec::with_capacity(datasets.len());
        for dataset in datasets {
            all.push(if datasets.len() > 1 { self.snapshots(dataset).await? } else { vec![] });
        }
        Ok(all)
    }

    /// The identity of a dataset or snapshot; `None` where it is not there. A dataset keeps it
    /// when it is renamed.
    pub(crate) async fn guid(&self, name: &str) -> Result<Option<String>> {
        let text = absent(self.run(&["get", "-Hp", "-o", "value", "guid"], &[name]).await)?;
        Ok(text.and_then(|text| text.trim().parse::<u64>().ok()).map(|guid| format!("{guid:016x}")))
    }

    /// What of a cut-off receive into this dataset is kept and can be resumed; `None` where nothing is.
    pub(crate) async fn token(&self, dataset: &str) -> Result<Option<Token>> {
        let flags = ["get", "-Hp", "-o", "value", "receive_resume_token"];
        let text = match absent(self.run(&flags, &[dataset]).await) {
            // An old `zfs` has no such property.
            Err(error) if error.said() == Some(Said::Unsupported) => return Ok(None),
            text => text?.unwrap_or_default(),
        };
        self.read_token(text.trim()).await
    }

    /// Datasets in which something of a cut-off receive is kept: this one and those below it.
    pub(crate) async fn partials(&self, root: &str) -> Result<Vec<String>> {
        let flags = ["get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "name,value", "receive_resume_token"];
        let text = match absent(self.run(&flags, &[root]).await) {
            Err(error) if error.said() == Some(Said::Unsupported) => return Ok(vec![]),
            text => text?.unwrap_or_default(),
        };
        let told = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(told.filter(|(_, value)| Token::is_one(value.trim())).map(|(name, _)| name.to_owned()).collect())
    }

    async fn read_token(&self, text: &str) -> Result<Option<Token>> {
        if !Token::is_one(text) {
            return Ok(None);
        }
        // It fails where the snapshot is not here, and tells what is in the token all the same.
        let command = Self::command(&["send", "-nvP", "-t", text], &[])?;
        let output = self.host.output(command).await.map_err(ZfsError::Host)?;
        Ok(Token::read(text, &format!("{}\n{}", output.text(), output.exit.stderr())))
    }

    /// Whether a dataset or snapshot is there.
    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        absent(self.run(&["list", "-H", "-o", "name"], &[name]).await).map(|text| text.is_some())
    }

    /// Properties of one dataset by name, `which` as `zfs get` takes it; empty where it is not there.
    pub(crate) async fn properties(&self, dataset: &str, which: &str) -> Result<BTreeMap<String, Property>> {
        let flags = ["get", "-Hp", "-o", "name,property,value,source", which];
        let text = absent(self.run(&flags, &[dataset]).await)?.unwrap_or_default();
        Ok(parse::properties(&text).into_iter().next().map(|(_, properties)| properties).unwrap_or_default())
    }

    /// One property of every dataset of a tree where it is set on the dataset itself.
    pub(crate) async fn set_in_tree(&self, root: &str, property: &str) -> Result<Vec<(String, String)>> {
        let flags = ["get", "-Hp", "-r", "-s", "local", "-o", "name,property,value,source", property];
        let text = absent(self.run(&flags, &[root]).await)?.unwrap_or_default();
        let told = parse::properties(&text).into_iter().filter(|(name, _)| !name.contains(['@', '#']));
        Ok(told.filter_map(|(name, mut all)| Some((name, all.remove(property)?.value))).collect())
    }

    /// Whether what needs root runs as root here; asked once.
    pub(crate) async fn is_root(&self) -> Result<bool> {
        let ask = || async {
            let id = self.host.run(Command::new("id").arg("-u").as_root()).await.map_err(ZfsError::Host)?;
            Ok(id.trim() == "0")
        };
        self.root.get_or_try_init(ask).await.copied()
    }

    /// Asks ahead what is asked once. What goes wrong is told when it is needed.
    pub(crate) async fn scout(&self) {
        let _ = tokio::join!(self.features(), self.is_root());
    }

    /// Whether what is run here has these rights on a dataset.
    pub(crate) async fn allowed(&self, dataset: &str, needed: &[&str]) -> Result<Allowed> {
        if self.is_root().await? {
            return Ok(Allowed::All);
        }
        let Ok(text) = self.run(&["allow"], &[dataset]).await else { return Ok(Allowed::All) };
        let id = |flag: &str| Command::new("id").arg(flag);
        let user = self.host.run(id("-un")).await.map_err(ZfsError::Host)?.trim().to_owned();
        let groups = self.host.run(id("-Gn")).await.map_err(ZfsError::Host)?;
        let who = Rights { user, groups: groups.split_whitespace().map(str::to_owned).collect() };
        let missing = who.missing(&text, dataset, needed);
        if missing.is_empty() {
            return Ok(Allowed::All);
        }
        Ok(Allowed::Lacks { user: who.user, rights: missing.into_iter().map(str::to_owned).collect() })
    }
}

/// `None` for what is not there.
fn absent(text: Result<String>) -> Result<Option<String>> {
    match text {
        Err(error) if error.said() == Some(Said::NotThere) => Ok(None),
        text => text.map(Some),
    }
}
