//! Where each copied dataset is mounted in the end, and whose name it takes. Pure.

use std::collections::BTreeMap;

use reseed_core::item::{LeftOut, Place, SnapshotPart};

use crate::name;
use crate::parse::{Mounts, below};

/// A dataset of the source that has a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The dataset on the source.
    pub(crate) dataset: String,
    /// Where it is mounted there.
    pub(crate) mountpoint: String,
    /// Whether it holds the first piece.
    pub(crate) main: bool,
}

impl Origin {
    /// The dataset of a part.
    pub(crate) fn of(part: &SnapshotPart) -> Self {
        Self { dataset: part.dataset.clone(), mountpoint: part.mountpoint.clone(), main: part.main }
    }

    /// A dataset whose content stayed behind.
    pub(crate) fn empty(left: &LeftOut) -> Self {
        Self { dataset: left.dataset.clone(), mountpoint: left.mountpoint.clone(), main: false }
    }
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where it is mounted in the end.
    pub(crate) mountpoint: String,
    /// The dataset that it is to be, which is the live one's where there is a live one.
    pub(crate) name: String,
    /// Whether a live dataset is there.
    pub(crate) live: bool,
}

/// Why a copy can't take its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    /// No directory of the source is in it or above it.
    #[error("nothing says where the copy of {0} goes")]
    Nowhere(String),
    /// The directory lies deeper in its dataset than its place allows.
    #[error("{place} can't be the place of {source_path}: in its dataset it lies in `{rest}`")]
    Depth {
        /// On the source.
        source_path: String,
        /// On the target.
        place: String,
        /// What is behind the source's mount point.
        rest: String,
    },
    /// Two directories of one dataset go to places that no one mount gives.
    #[error("two directories in {dataset} go to different mount points, {one} and {other}")]
    Apart {
        /// The dataset on the source.
        dataset: String,
        /// One mount point.
        one: String,
        /// The other one.
        other: String,
    },
    /// Another file system is mounted there.
    #[error("{0} is a mount point of {1}, not of ZFS")]
    NotZfs(String, String),
    /// Nothing is there, and nothing says what the dataset is to be called.
    #[error("no dataset is mounted on {0} yet, and nothing says what it is to be called")]
    Unnamed(String, String, bool),
    /// Two copies would have one name.
    #[error("two copies would be called {0}")]
    Collision(String),
}

impl Misplaced {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Misplaced::Nowhere(dataset) => format!("see what is in {dataset}; only parts of the data are copied"),
            Misplaced::Depth { rest, .. } => format!("let the target's path end in `{rest}`, with a dataset above it"),
            Misplaced::Apart { .. } => "let the target's directories lie to each other as the source's do".to_owned(),
            Misplaced::NotZfs(path, _) => format!("unmount it and make it a dataset: `umount {path}`"),
            Misplaced::Unnamed(_, _, true) => "say `as = \"pool/name\"` in the stage zfs-clone".to_owned(),
            Misplaced::Unnamed(_, source, false) => {
                format!("say `map = {{ \"{source}\" = \"pool/name\" }}` in the stage zfs-clone")
            }
            Misplaced::Collision(_) => "give one of them another name by `map`".to_owned(),
        }
    }
}

/// How a dataset is called that takes the place of none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// The main one's name.
    pub(crate) main: Option<String>,
    /// Dataset of the source, name on the target.
    pub(crate) map: BTreeMap<String, String>,
}

impl Naming {
    /// The slots of these copies, parents before children as they are.
    pub(crate) fn slots(&self, all: &[Origin], places: &[Place], mounts: &Mounts) -> Result<Vec<Slot>, Misplaced> {
        let mut slots: Vec<Slot> = Vec::with_capacity(all.len());
        for origin in all {
            let mountpoint = mountpoint(origin, all, places)?;
            let slot = match mounts.at(&mountpoint) {
                Some(mount) if mount.is_zfs() => Slot { name: mount.device.clone(), live: true, mountpoint },
                Some(mount) => return Err(Misplaced::NotZfs(mountpoint, mount.kind.clone())),
                None => Slot { name: self.name(origin, all, &slots, &mountpoint)?, live: false, mountpoint },
            };
            if slots.iter().any(|other| other.name == slot.name) {
                return Err(Misplaced::Collision(slot.name));
            }
            slots.push(slot);
        }
        Ok(slots)
    }

    fn name(&self, origin: &Origin, all: &[Origin], slots: &[Slot], path: &str) -> Result<String, Misplaced> {
        let mapped = self.map.get(&origin.dataset).cloned();
        let main = || self.main.clone().filter(|_| origin.main);
        let above = || {
            let named = all.iter().zip(slots);
            let above = named.filter_map(|(one, slot)| Some((slot, name::under(&origin.dataset, &one.dataset)?)));
            let nearest = above.min_by_key(|(_, rest)| rest.len());
            nearest.map(|(slot, rest)| format!("{}{rest}", slot.name))
        };
        let unnamed = || Misplaced::Unnamed(path.to_owned(), origin.dataset.clone(), origin.main);
        mapped.or_else(main).or_else(above).ok_or_else(unnamed)
    }
}

/// Where each copy is mounted, so that every directory in it comes to its place.
pub(crate) fn mountpoints(all: &[Origin], places: &[Place]) -> Result<Vec<String>, Misplaced> {
    all.iter().map(|origin| mountpoint(origin, all, places)).collect()
}

/// Where a copy is mounted, so that each directory in it comes to its place.
fn mountpoint(origin: &Origin, all: &[Origin], places: &[Place]) -> Result<String, Misplaced> {
    let mut found: Option<String> = None;
    for place in places.iter().filter(|place| home(&place.source, all) == Some(&origin.mountpoint)) {
        let rest = below(&place.source, &origin.mountpoint).unwrap_or_default();
        let here = place.target.strip_suffix(rest).ok_or_else(|| Misplaced::Depth {
            source_path: place.source.clone(),
            place: place.target.clone(),
            rest: rest.trim_start_matches('/').to_owned(),
        })?;
        let here = if here.is_empty() { "/" } else { here };
        match &found {
            Some(other) if other != here => {
                let (dataset, one) = (origin.dataset.clone(), other.clone());
                return Err(Misplaced::Apart { dataset, one, other: here.to_owned() });
            }
            _ => found = Some(here.to_owned()),
        }
    }
    found.or_else(|| inside(origin, places)).ok_or_else(|| Misplaced::Nowhere(origin.dataset.clone()))
}

/// The mount point of the dataset that a path of the source lies in.
fn home<'o>(path: &str, all: &'o [Origin]) -> Option<&'o String> {
    let above = all.iter().map(|origin| &origin.mountpoint).filter(|mountpoint| below(path, mountpoint).is_some());
    above.max_by_key(|mountpoint| mountpoint.len())
}

/// The mount point of a dataset that is mounted inside a directory that has a place.
fn inside(origin: &Origin, places: &[Place]) -> Option<String> {
    let above = places.iter().filter_map(|place| Some((place, below(&origin.mountpoint, &place.source)?)));
    above.min_by_key(|(_, rest)| rest.len()).map(|(place, rest)| format!("{}{rest}", place.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "/dev/vda1 / ext4 rw 0 0
data /data zfs rw 0 0
data/pgsql /data/pgsql zfs rw 0 0
data/pgsql/wal /data/pgsql/wal zfs rw 0 0
/dev/vdb /space ext4 rw 0 0
";

    fn origin(dataset: &str, mountpoint: &str) -> Origin {
        Origin { dataset: dataset.into(), mountpoint: mountpoint.into(), main: dataset == "ta/pg" }
    }

    fn place(source: &str, target: &str) -> Place {
        Place { source: source.into(), target: target.into() }
    }

    fn two() -> Vec<Origin> {
        vec![origin("ta/pg", "/ta/pg"), origin("ta/pg/wal", "/ta/pg/wal")]
    }

    #[test]
    fn a_copy_takes_the_name_of_what_is_mounted_at_its_place() {
        let places = [place("/ta/pg/data", "/data/pgsql/data"), place("/ta/pg/wal", "/data/pgsql/wal")];
        let slots = Naming::default().slots(&two(), &places, &Mounts::read(TABLE)).unwrap();
        assert_eq!(slots[0], Slot { mountpoint: "/data/pgsql".into(), name: "data/pgsql".into(), live: true });
        assert_eq!(slots[1], Slot { mountpoint: "/data/pgsql/wal".into(), name: "data/pgsql/wal".into(), live: true });
    }

    #[test]
    fn the_first_seeding_takes_its_name_from_the_file() {
        let places = [place("/ta/pg/data", "/new/data"), place("/ta/pg/wal", "/new/wal")];
        let mounts = Mounts::read(TABLE);
        let unnamed = Naming::default().slots(&two(), &places, &mounts).unwrap_err();
        assert_eq!(unnamed, Misplaced::Unnamed("/new".into(), "ta/pg".into(), true));
        let naming = Naming { main: Some("data/new".into()), map: BTreeMap::new() };
        let slots = naming.slots(&two(), &places, &mounts).unwrap();
        assert_eq!((slots[0].name.as_str(), slots[0].live), ("data/new", false));
        assert_eq!((slots[1].name.as_str(), slots[1].mountpoint.as_str()), ("data/new/wal", "/new/wal"));
    }

    #[test]
    fn what_is_mounted_inside_the_data_follows_it() {
        let all = [origin("ta/pg", "/ta/pg"), origin("ta/base", "/ta/pg/data/base")];
        let naming = Naming { main: None, map: BTreeMap::from([("ta/base".to_owned(), "data/base".to_owned())]) };
        let slots = naming.slots(&all, &[place("/ta/pg/data", "/data/pgsql/data")], &Mounts::read(TABLE)).unwrap();
        assert_eq!(slots[1].mountpoint, "/data/pgsql/data/base");
    }

    #[test]
    fn what_fits_no_mount_is_refused() {
        let mounts = Mounts::read(TABLE);
        let slots = |places: &[Place]| Naming::default().slots(&two()[..1], places, &mounts).unwrap_err();
        let depth = slots(&[place("/ta/pg/data", "/data/pgsql")]);
        assert!(matches!(&depth, Misplaced::Depth { rest, .. } if rest == "data"), "{depth}");
        assert_eq!(slots(&[place("/ta/pg", "/space")]), Misplaced::NotZfs("/space".into(), "ext4".into()));
        let apart = slots(&[place("/ta/pg/a", "/data/pgsql/a"), place("/ta/pg/b", "/data/b")]);
        assert!(matches!(apart, Misplaced::Apart { .. }));
        assert!(matches!(slots(&[]), Misplaced::Nowhere(_)));
    }
}
