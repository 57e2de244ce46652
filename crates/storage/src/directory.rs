//! Directories that a run makes, and how they go again. Never removes a file.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::{Command, Host, shell_quote};
use reseed_core::undo::by_name;
use reseed_core::undo::{Chore, Undo};
use reseed_core::{Error, Result};
use reseed_core::{register_chore, register_undo};
use serde::{Deserialize, Serialize};

/// Removes empty directories of one file system, the deepest first.
const REMOVE_TREE: &str = r#"[ ! -d "$1" ] || find "$1" -xdev -depth -type d -exec rmdir {} \; 2>/dev/null
rmdir "$2" 2>/dev/null; [ ! -e "$1" ]"#;

/// Removes each that is empty.
const REMOVE_EMPTY: &str = r#"for d; do rmdir -- "$d" 2>/dev/null; done; :"#;

/// The directories that a command removes where they are empty, if that is what it does.
pub fn removes_empty<'w, 'a>(argv: &'w [&'a str]) -> Option<&'w [&'a str]> {
    reseed_core::guard::script(argv, REMOVE_EMPTY)
}

/// Removes the directories under which copies were mounted.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveTree {
    /// Where.
    #[serde(with = "by_name")]
    pub host: Arc<dyn Host>,
    /// The topmost one.
    pub path: String,
    /// The directory that it is in; it goes too where nothing else is in it.
    pub base: String,
}

impl RemoveTree {
    /// Removes them.
    ///
    /// # Errors
    /// When something is in them.
    pub async fn remove(&self) -> Result<()> {
        let command = Command::script(REMOVE_TREE).titled("remove").arg(&self.path).arg(&self.base).as_root();
        let output = self.host.output(command).await?;
        match output.exit.success() {
            true => Ok(()),
            false => Err(Error::failed(format!("{} on {} is not empty", self.path, self.host.name()))),
        }
    }
}

register_undo!("remove-mount-points", RemoveTree);

#[async_trait]
impl Undo for RemoveTree {
    fn describe(&self) -> String {
        format!("remove the directory {} on {}", self.path, self.host.name())
    }

    fn by_hand(&self) -> String {
        format!("find {} -xdev -depth -type d -empty -delete", self.path)
    }

    async fn undo(&self) -> Result<()> {
        self.remove().await
    }
}

register_chore!("remove-mount-points", RemoveTree);

#[async_trait]
impl Chore for RemoveTree {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.host))
    }

    fn describe(&self) -> String {
        Undo::describe(self)
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.remove().await.map(|()| None)
    }
}

/// Removes directories that a run made, where nothing is in them by now.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveEmpty {
    /// Where.
    #[serde(with = "by_name")]
    pub host: Arc<dyn Host>,
    /// The deepest first.
    pub paths: Vec<String>,
}

register_undo!("remove-empty-directories", RemoveEmpty);

#[async_trait]
impl Undo for RemoveEmpty {
    fn describe(&self) -> String {
        format!("remove {} on {}, if empty", self.paths.join(", "), self.host.name())
    }

    fn by_hand(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| shell_quote(path)).collect();
        format!("rmdir {}", paths.join(" "))
    }

    async fn undo(&self) -> Result<()> {
        let command = Command::script(REMOVE_EMPTY).titled("rmdir").args(self.paths.clone()).as_root();
        self.host.run(command).await.map(drop)
    }
}

/// Whether nothing is at a path, or an empty directory.
///
/// # Errors
/// When the host can't be asked.
pub async fn is_free(host: &dyn Host, path: &str) -> Result<bool> {
    let script = r#"[ ! -e "$1" ] && [ ! -L "$1" ] || { [ -d "$1" ] && [ -z "$(ls -A -- "$1")" ]; }"#;
    let output = host.output(Command::script(script).titled("is free").arg(path).as_root()).await?;
    Ok(output.exit.success())
}

/// Whether what needs root runs as root on a host.
///
/// # Errors
/// When the host can't be asked.
pub async fn is_root(host: &dyn Host) -> Result<bool> {
    let id = host.run(Command::new("id").arg("-u").as_root()).await?;
    Ok(id.trim() == "0")
}
