//! Where each copied dataset is mounted in the end, and whose name it takes. Pure.

use std::collections::BTreeMap;

use reseed_core::item::Place;
pub(crate) use reseed_storage::place::Origin;
use reseed_storage::place::{self, Astray};

use crate::name;
use crate::parse::Mounts;
use crate::shared::TERMS;

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

/// Where each copy is mounted, so that every directory in it comes to its place.
pub(crate) fn mountpoints(all: &[Origin], places: &[Place]) -> Result<Vec<String>, Misplaced> {
    Ok(place::mountpoints(all, places, TERMS)?)
}

/// Why a copy can't take its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    /// It has none.
    #[error(transparent)]
    Astray(#[from] Astray),
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
            Misplaced::Astray(astray) => astray.hint(),
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
            let mountpoint = place::mountpoint(origin, all, places, TERMS)?;
            let slot = match mounts.at(&mountpoint) {
                Some(mount) if mount.ours => Slot { name: mount.device.clone(), live: true, mountpoint },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::KINDS;

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
        let slots = Naming::default().slots(&two(), &places, &Mounts::read(TABLE, KINDS)).unwrap();
        assert_eq!(slots[0], Slot { mountpoint: "/data/pgsql".into(), name: "data/pgsql".into(), live: true });
        assert_eq!(slots[1], Slot { mountpoint: "/data/pgsql/wal".into(), name: "data/pgsql/wal".into(), live: true });
    }

    #[test]
    fn the_first_seeding_takes_its_name_from_the_file() {
        let places = [place("/ta/pg/data", "/new/data"), place("/ta/pg/wal", "/new/wal")];
        let mounts = Mounts::read(TABLE, KINDS);
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
        let slots =
            naming.slots(&all, &[place("/ta/pg/data", "/data/pgsql/data")], &Mounts::read(TABLE, KINDS)).unwrap();
        assert_eq!(slots[1].mountpoint, "/data/pgsql/data/base");
    }

    #[test]
    fn what_fits_no_mount_is_refused() {
        let mounts = Mounts::read(TABLE, KINDS);
        let slots = |places: &[Place]| Naming::default().slots(&two()[..1], places, &mounts).unwrap_err();
        let depth = slots(&[place("/ta/pg/data", "/data/pgsql")]);
        assert!(matches!(&depth, Misplaced::Astray(Astray::Depth { rest, .. }) if rest == "data"), "{depth}");
        assert_eq!(slots(&[place("/ta/pg", "/space")]), Misplaced::NotZfs("/space".into(), "ext4".into()));
        let apart = slots(&[place("/ta/pg/a", "/data/pgsql/a"), place("/ta/pg/b", "/data/b")]);
        assert!(matches!(apart, Misplaced::Astray(Astray::Apart { .. })));
        assert!(matches!(slots(&[]), Misplaced::Astray(Astray::Nowhere(_))));
    }
}
