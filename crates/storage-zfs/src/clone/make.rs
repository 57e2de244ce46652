//! Clones beside the live data, mounted where nobody looks.

use std::sync::Arc;

use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::item::Places;
use reseed_core::stage::StageCx;
use reseed_storage::directory::RemoveTree;
use reseed_storage::mirror::{self, Mirror};

use super::seats::Seating;
use crate::name;
use crate::parse::below;
use crate::place::{Naming, Origin};
use crate::shared::Received;
use crate::undo::{DestroyDataset, Unmount};
use crate::zfs::Zfs;

/// Where copies are mounted until the switch, each run in a directory of its own.
pub(crate) const BASE: &str = "/var/lib/reseed";

/// One dataset that waits for the switch.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    /// What it is a copy of.
    pub(super) origin: Origin,
    /// Its name now.
    pub(super) name: String,
    /// Whether the place of its mount comes from the copy above it.
    pub(super) inherits: bool,
    /// Its property `canmount`.
    pub(super) canmount: String,
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
    /// The switch as it was prepared, where the places were known.
    pub(super) seating: Option<Seating>,
}

impl Copies {
    /// What removes the directories under which the copies are mounted.
    pub(super) fn cleanup(&self) -> RemoveTree {
        RemoveTree { host: Arc::clone(self.zfs.host()), path: self.directory.clone(), base: BASE.to_owned() }
    }

    /// Mounts what is not mounted since it was made. Where one that was made earlier is mounted
    /// inside a later one, which hides it, all are mounted anew.
    async fn mount_all(&self, cx: &StageCx) -> Result<()> {
        let named = self.by_depth().into_iter().map(|index| (self.copies[index].name.clone(), None));
        cx.arm(Unmount { zfs: self.zfs.clone(), datasets: named.collect() })?;
        let hidden = |(index, mirror): (usize, &Mirror)| {
            self.mirrors[index + 1..].iter().any(|later| below(&mirror.copy, &later.copy).is_some())
        };
        if self.mirrors.iter().enumerate().any(hidden) {
            for copy in self.copies.iter().rev() {
                self.zfs.unmount(&copy.name).await?;
            }
        }
        for index in self.by_depth() {
            self.zfs.mount(&self.copies[index].name).await?;
        }
        Ok(())
    }
}

/// Makes and mounts a clone of each received snapshot and an empty dataset for each one left out.
pub(super) async fn make(received: &Received, naming: &Naming, cx: &StageCx) -> Result<Copies> {
    let zfs = received.zfs.clone();
    let mut sources = sources(received, cx.run_id());
    let origins: Vec<_> = sources.iter().map(|source| source.copy.origin.clone()).collect();
    let seating = async {
        match cx.board().get::<Places>() {
            Some(places) => Seating::prepare(&zfs, naming, &origins, &places.0).await.map(Some),
            None => Ok(None),
        }
    };
    let (seating, directory) = tokio::try_join!(seating, directory(&zfs, cx))?;
    let mut mirrors: Vec<Mirror> = Vec::with_capacity(sources.len());
    for index in 0..sources.len() {
        let at = format!("{directory}{}", sources[index].copy.origin.mountpoint.trim_end_matches('/'));
        // Where it would be mounted there anyway, the switch has one property less to set.
        let inherits = natural(&sources[index].copy, &sources, &mirrors).as_ref() == Some(&at);
        let mut properties = match &seating {
            Some(seating) => seating.properties(&zfs, index).await?,
            None => vec![],
        };
        if !inherits {
            properties.push(("mountpoint".to_owned(), at.clone()));
        }
        let source = &mut sources[index];
        source.copy.inherits = inherits;
        if let Some(seating) = &seating {
            source.copy.canmount.clone_from(&seating.seats[index].canmount);
        }
        source.make(&zfs, properties, cx).await?;
        mirrors.push(Mirror { source: source.copy.origin.mountpoint.clone(), copy: at });
    }
    let empty: Vec<_> = sources.iter().map(|source| source.snapshot.is_none()).collect();
    let copies = sources.into_iter().map(|source| source.copy).collect();
    let copies = Copies { zfs, naming: naming.clone(), copies, mirrors, directory, seating };
    copies.mount_all(cx).await?;
    for (mirror, _) in copies.mirrors.iter().zip(empty).filter(|(_, empty)| *empty) {
        mirror::furnish(copies.zfs.host().as_ref(), mirror, &copies.mirrors, cx).await?;
    }
    Ok(copies)
}

/// Where a copy would be mounted if only the one above it said so.
fn natural(copy: &Copy, sources: &[Source], mirrors: &[Mirror]) -> Option<String> {
    let mut above = sources.iter().zip(mirrors);
    let (_, mirror) = above.find(|(above, _)| name::parent(&copy.name) == Some(&above.copy.name))?;
    Some(format!("{}/{}", mirror.copy, name::last(&copy.name)))
}

/// Makes this run's directory: others may pass through it to what is theirs, but not list it.
async fn directory(zfs: &Zfs, cx: &StageCx) -> Result<String> {
    // Two branches of one run may be on one machine.
    let branch = cx.branch().map(|name| format!("-{name}")).unwrap_or_default();
    let path = format!("{BASE}/{}{branch}", cx.run_id());
    cx.arm(RemoveTree { host: Arc::clone(zfs.host()), path: path.clone(), base: BASE.to_owned() })?;
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
    async fn make(&self, zfs: &Zfs, mut properties: Vec<(String, String)>, cx: &StageCx) -> Result<()> {
        let own = [("canmount", self.copy.canmount.as_str()), ("readonly", "off"), ("reseed:run", cx.run_id())];
        properties.extend(own.map(|(property, value)| (property.to_owned(), value.to_owned())));
        cx.arm(DestroyDataset::new(zfs, &self.copy.name))?;
        match &self.snapshot {
            Some(snapshot) => Ok(zfs.clone_of(snapshot, &self.copy.name, &properties).await?),
            None => Ok(zfs.create(&self.copy.name, &properties).await?),
        }
    }
}

/// What is to be copied, and how each copy is called, parents before children.
fn sources(received: &Received, run: &str) -> Vec<Source> {
    let parts = received.parts.iter().map(|(part, dataset)| {
        let snapshot = Some(format!("{dataset}@{}", part.snapshot));
        (Origin::of(part), dataset, snapshot)
    });
    let left = received.left_out.iter();
    let left = left.map(|(left, dataset)| (Origin::empty(left), dataset, None));
    let mut named: Vec<(String, String)> = vec![];
    let sources = parts.chain(left).map(|(origin, dataset, snapshot)| {
        let name = beside(dataset, &named, run);
        named.push((dataset.clone(), name.clone()));
        Source { copy: Copy { origin, name, inherits: false, canmount: "on".to_owned() }, snapshot }
    });
    sources.collect()
}

/// A name beside a received dataset, or below the copy of the one above it.
fn beside(dataset: &str, named: &[(String, String)], run: &str) -> String {
    let above = named.iter().filter_map(|(above, copy)| Some((copy, name::under(dataset, above)?)));
    match above.min_by_key(|(_, rest)| rest.len()) {
        Some((copy, rest)) => format!("{copy}{rest}"),
        None => name::copy(dataset, run),
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
