//! The chain: a whole backup and the increments that follow it, as they came.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::undo::Chore;
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Runs whose backups make up the chain, the whole one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain(pub(crate) Vec<String>);

impl Chain {
    /// Reads the chain of a store; empty where there is none.
    ///
    /// # Errors
    /// When the machine can't be asked.
    pub(crate) async fn read(store: &Store) -> Result<Self> {
        let text = store.host.files().read_text(&file(store)).await?;
        Ok(parse(&text.unwrap_or_default()))
    }

    /// The paths of its backups.
    pub(crate) fn paths(&self, store: &Store) -> Vec<String> {
        self.0.iter().map(|run| store.backup(run)).collect()
    }

    /// How many increments it has.
    pub(crate) fn increments(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// The chain with one more backup.
    pub(crate) fn with(mut self, run: &str) -> Self {
        self.0.push(run.to_owned());
        self
    }
}

fn file(store: &Store) -> String {
    format!("{}/chain", store.path)
}

fn parse(text: &str) -> Chain {
    let is_run = |run: &&str| !run.is_empty() && run.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let runs: Vec<_> = text.lines().map(str::trim).collect();
    // A chain with something strange in it is none: the next backup is whole.
    match runs.iter().all(is_run) {
        true => Chain(runs.into_iter().map(str::to_owned).collect()),
        false => Chain::default(),
    }
}

/// Makes a chain the one that the next increment starts from, and removes whatever else runs have left
/// of theirs: backups of earlier chains, copies of runs that were killed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settle {
    pub(crate) store: Store,
    pub(crate) chain: Chain,
}

/// Prints what it removes of the store `$1`; the rest are names that stay.
const CLEAR: &str = r#"cd -- "$1" || exit; shift
for d in backup-* copy-*; do
  [ -d "$d" ] || continue
  keep=; for k; do [ "$k" != "$d" ] || keep=1; done
  [ -n "$keep" ] || { rm -rf -- "./$d" && echo "$d"; }
done"#;

register_chore!("dir-settle", Settle);

#[async_trait]
impl Chore for Settle {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.store.host))
    }

    fn describe(&self) -> String {
        format!("keep the chain of {} backups in {}", self.chain.0.len(), self.store.path)
    }

    async fn perform(&self) -> Result<Option<String>> {
        let text: String = self.chain.0.iter().map(|run| format!("{run}\n")).collect();
        self.store.host.files().write(&file(&self.store), text.as_bytes(), 0o600).await?;
        let names = self.chain.0.iter().map(|run| format!("backup-{run}"));
        let clear = Command::script(CLEAR).titled("clear").arg(&self.store.path).args(names);
        let gone = self.store.host.run(clear.as_root()).await?;
        let gone: Vec<_> = gone.lines().collect();
        Ok((!gone.is_empty()).then(|| format!("removed {} from {}", gone.join(", "), self.store.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_whole_or_not_at_all() {
        assert_eq!(parse("20260101t120000-00ab12\n20260102t120000-00ab13\n").increments(), 1);
        assert_eq!(parse(""), Chain::default());
        assert_eq!(parse("20260101t120000-00ab12\n../x\n"), Chain::default());
    }
}
