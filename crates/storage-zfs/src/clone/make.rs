//! Clones beside the live data, mounted where nobody looks.

use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::item::Places;
use reseed_core::stage::StageCx;

use super::plan;
use crate::fresh::{self, Mirror};
use crate::name;
use crate::place::{Naming, Origin, Slot};
use crate::shared::Received;
use crate::undo::{DestroyDataset, RemoveDirectory};
use crate::zfs::Zfs;

/// Where copies are mounted until the switch, each run in a directory of its own.
const BASE: &str = "/var/lib/reseed";

/// One dataset that waits for the switch.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    /// What it is a copy of.
    pub(super) origin: Origin,
    /// Its name now.
    pub(super) name: String,
}

/// All copies of a run.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) zfs: Zfs,
    pub(super) naming: Naming,
    /// Parents before children.
    pub(super) copies: Vec<Copy>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) directory: String,
}

impl Copies {
    /// What removes the directories under which the copies are mounted.
    pub(super) fn cleanup(&self) -> RemoveDirectory {
        RemoveDirectory { zfs: self.zfs.clone(), path: self.directory.clone(), base: BASE }
    }
}

/// Makes and mounts a clone of each received snapshot and an empty dataset for each one left out.
pub(super) async fn make(received: &Received, naming: &Naming, cx: &StageCx) -> Result<Copies> {
    let zfs = received.zfs.clone();
    let sources = sources(received, cx.run_id());
    let origins: Vec<_> = sources.iter().map(|source| source.copy.origin.clone()).collect();
    let slots = match cx.board().get::<Places>() {
        Some(places) => plan::slots(&zfs, naming, &origins, &places.0).await?,
        None => vec![],
    };
    let directory = directory(&zfs, cx).await?;
    let mut mirrors = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        let at = format!("{directory}{}", source.copy.origin.mountpoint.trim_end_matches('/'));
        source.make(&zfs, &at, slots.get(index), cx).await?;
        mirrors.push(Mirror { source: source.copy.origin.mountpoint.clone(), copy: at });
    }
    for (source, mirror) in sources.iter().zip(&mirrors).filter(|(source, _)| source.snapshot.is_none()) {
        cx.note(format!("{} is a fresh, empty dataset", source.copy.name));
        fresh::furnish(&zfs, mirror, &mirrors, cx).await?;
    }
    let copies = sources.into_iter().map(|source| source.copy).collect();
    Ok(Copies { zfs, naming: naming.clone(), copies, mirrors, directory })
}

/// Makes this run's directory: others may pass through it to what is theirs, but not list it.
async fn directory(zfs: &Zfs, cx: &StageCx) -> Result<String> {
    let path = format!("{BASE}/{}", cx.run_id());
    let _ = cx.arm(RemoveDirectory { zfs: zfs.clone(), path: path.clone(), base: BASE });
    let script = r#"set -e; mkdir -p -m 0711 -- "$2"; mkdir -m 0711 -- "$1""#;
    zfs.host().run(Command::script(script).arg(&path).arg(BASE).as_root()).await?;
    Ok(path)
}

/// A copy to be made.
struct Source {
    copy: Copy,
    /// The received snapshot; `None` for an empty one.
    snapshot: Option<String>,
}

impl Source {
    async fn make(&self, zfs: &Zfs, at: &str, slot: Option<&Slot>, cx: &StageCx) -> Result<()> {
        let mut properties = match slot {
            Some(slot) if slot.live => fresh::inheritance(zfs, &slot.name).await?,
            _ => vec![],
        };
        let own = [("mountpoint", at), ("canmount", "noauto"), ("readonly", "off"), ("reseed:run", cx.run_id())];
        properties.extend(own.map(|(property, value)| (property.to_owned(), value.to_owned())));
        let _ = cx.arm(DestroyDataset::new(zfs, &self.copy.name));
        match &self.snapshot {
            Some(snapshot) => zfs.clone_of(snapshot, &self.copy.name, &properties).await?,
            None => zfs.create(&self.copy.name, &properties).await?,
        }
        Ok(zfs.mount(&self.copy.name).await?)
    }
}

/// What is to be copied, and how each copy is called, parents before children.
fn sources(received: &Received, run: &str) -> Vec<Source> {
    let parts = received.parts.iter().map(|(part, dataset)| {
        let snapshot = Some(format!("{dataset}@{}", part.snapshot));
        (plan::origin(&part.dataset, &part.mountpoint, part.main), dataset, snapshot)
    });
    let left = received.left_out.iter();
    let left = left.map(|(left, dataset)| (plan::origin(&left.dataset, &left.mountpoint, false), dataset, None));
    let mut named: Vec<(String, String)> = vec![];
    let sources = parts.chain(left).map(|(origin, dataset, snapshot)| {
        let name = beside(dataset, &named, run);
        named.push((dataset.clone(), name.clone()));
        Source { copy: Copy { origin, name }, snapshot }
    });
    sources.collect()
}

/// A name beside a received dataset, or below the copy of the one above it.
fn beside(dataset: &str, named: &[(String, String)], run: &str) -> String {
    let above = named.iter().filter_map(|(above, copy)| Some((copy, name::under(dataset, above)?)));
    match above.min_by_key(|(_, rest)| rest.len()) {
        Some((copy, rest)) => format!("{copy}{rest}"),
        None => format!("{dataset}-reseed-{run}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_lie_to_each_other_as_what_was_received() {
        let named = [("data/reseed/pg".to_owned(), "data/reseed/pg-reseed-1".to_owned())];
        assert_eq!(beside("data/reseed/pg/wal", &named, "1"), "data/reseed/pg-reseed-1/wal");
        assert_eq!(beside("data/reseed/pgx", &named, "1"), "data/reseed/pgx-reseed-1");
    }
}
