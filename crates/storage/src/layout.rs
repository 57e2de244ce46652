//! Which datasets hold the data, found from paths and the mount table. Pure.

use reseed_core::item::{LeftOut, Piece};

use crate::{Mount, Mounts, Terms, name};

/// One volume that is to be in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub dataset: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// The pieces that lie in it; none where it is needed for another reason.
    pub pieces: Vec<Piece>,
    /// Whether it holds the first piece.
    pub main: bool,
}

/// The volumes of a source, parents before children.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// One for each volume.
    pub parts: Vec<Part>,
}

/// Why paths can't be captured by snapshots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncovered {
    /// The path is on another file system.
    #[error("{role} ({path}) lies on {kind}, not on {}", terms.storage)]
    Elsewhere {
        /// What it is.
        role: String,
        /// Where.
        path: String,
        /// The other file system's type.
        kind: String,
        /// The storage's words.
        terms: &'static Terms,
    },
    /// A part of the path's tree is on another file system.
    #[error("{inside} inside {role} ({path}) lies on {kind}, not on {}", terms.storage)]
    Inside {
        /// What it is.
        role: String,
        /// Where.
        path: String,
        /// The part.
        inside: String,
        /// Its file system's type.
        kind: String,
        /// The storage's words.
        terms: &'static Terms,
    },
    /// The volumes that were asked for leave one out.
    #[error("{role} ({path}) lies in the {} {dataset}, which is not among `{}`", terms.volume, terms.key)]
    NotAsked {
        /// What it is.
        role: String,
        /// Where.
        path: String,
        /// Its volume.
        dataset: String,
        /// The storage's words.
        terms: &'static Terms,
    },
    /// A volume that was asked for is not mounted.
    #[error("the {} {dataset} is not mounted", terms.volume)]
    NotMounted {
        /// The volume.
        dataset: String,
        /// The storage's words.
        terms: &'static Terms,
    },
}

impl Uncovered {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Uncovered::Elsewhere { path, terms, .. } => {
                format!("see where it lies: `df {path}`; only a {} can be snapshot", terms.volume)
            }
            Uncovered::Inside { inside, terms, .. } => format!("move {inside} to a {}: `{}`", terms.volume, terms.make),
            Uncovered::NotAsked { dataset, terms, .. } => {
                format!("add \"{dataset}\" to `{0}`, or leave `{0}` out", terms.key)
            }
            Uncovered::NotMounted { dataset, terms } => format!("{} {dataset}", terms.mount),
        }
    }
}

impl Layout {
    /// The volumes that hold these pieces. `asked` are further ones that must be in the snapshot
    /// and, where there are some, the only ones that may be; `recursive` adds what is below.
    pub fn resolve(
        mounts: &Mounts,
        pieces: &[Piece],
        asked: &[String],
        recursive: bool,
        terms: &'static Terms,
    ) -> Result<Self, Uncovered> {
        let mut layout = Self::default();
        for (index, piece) in pieces.iter().enumerate() {
            layout.add_piece(mounts, piece, index == 0, terms)?;
        }
        layout.restrict(asked, recursive, terms)?;
        for dataset in asked {
            let path = mounts.path_of(dataset);
            let path = path.ok_or_else(|| Uncovered::NotMounted { dataset: dataset.clone(), terms })?;
            layout.part(dataset, path);
        }
        if recursive {
            let parts: Vec<_> = layout.parts.iter().map(|part| part.dataset.clone()).collect();
            let children = parts.iter().flat_map(|dataset| mounts.children(dataset));
            children.for_each(|child| {
                layout.part(&child.device, &child.path);
            });
        }
        layout.parts.sort_by(|a, b| a.dataset.split('/').cmp(b.dataset.split('/')));
        Ok(layout)
    }

    fn add_piece(
        &mut self,
        mounts: &Mounts,
        piece: &Piece,
        main: bool,
        terms: &'static Terms,
    ) -> Result<(), Uncovered> {
        let mount = mounts.of(&piece.path);
        let Some(mount) = mount.filter(|mount| mount.ours) else {
            let kind = mount.map_or("no file system", |mount| mount.kind.as_str()).to_owned();
            return Err(Uncovered::Elsewhere { role: piece.role.clone(), path: piece.path.clone(), kind, terms });
        };
        let part = self.part(&mount.device, &mount.path);
        part.pieces.push(piece.clone());
        part.main |= main;
        mounts.inside(&piece.path).try_for_each(|inside| self.add_inside(piece, inside, terms))
    }

    /// What is mounted inside a piece belongs to it.
    fn add_inside(&mut self, piece: &Piece, inside: &Mount, terms: &'static Terms) -> Result<(), Uncovered> {
        if inside.is_volatile() {
            return Ok(());
        }
        if !inside.ours {
            let (role, path) = (piece.role.clone(), piece.path.clone());
            let (inside, kind) = (inside.path.clone(), inside.kind.clone());
            return Err(Uncovered::Inside { role, path, inside, kind, terms });
        }
        self.part(&inside.device, &inside.path);
        Ok(())
    }

    fn part(&mut self, dataset: &str, mountpoint: &str) -> &mut Part {
        let at = self.parts.iter().position(|part| part.dataset == dataset).unwrap_or_else(|| {
            let (dataset, mountpoint) = (dataset.to_owned(), mountpoint.to_owned());
            self.parts.push(Part { dataset, mountpoint, pieces: vec![], main: false });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }

    fn restrict(&self, asked: &[String], recursive: bool, terms: &'static Terms) -> Result<(), Uncovered> {
        let covered = |dataset: &str| {
            let covers = |above: &String| dataset == above || (recursive && name::under(dataset, above).is_some());
            asked.is_empty() || asked.iter().any(covers)
        };
        let Some(part) = self.parts.iter().find(|part| !covered(&part.dataset)) else { return Ok(()) };
        let (role, path) = match part.pieces.first() {
            Some(piece) => (piece.role.clone(), piece.path.clone()),
            None => ("a part of the data".to_owned(), part.mountpoint.clone()),
        };
        Err(Uncovered::NotAsked { role, path, dataset: part.dataset.clone(), terms })
    }

    /// Roles of pieces that have a volume for themselves, the first piece aside.
    pub fn separate(&self) -> Vec<String> {
        let alone = self.parts.iter().filter(|part| !part.main && !self.has_children(part));
        let roles = alone.filter_map(|part| match part.pieces.as_slice() {
            [piece] => Some(piece.role.clone()),
            _ => None,
        });
        roles.collect()
    }

    fn has_children(&self, part: &Part) -> bool {
        let below = |other: &Part| name::under(&other.dataset, &part.dataset).is_some_and(|rest| !rest.is_empty());
        self.parts.iter().any(below)
    }

    /// The parts whose content must be captured when these are the pieces, and those left out.
    pub fn split(self, pieces: &[Piece]) -> (Vec<Part>, Vec<LeftOut>) {
        let wanted = |piece: &Piece| !pieces.iter().any(|now| now.path == piece.path && !now.content);
        let keep = |part: &Part| {
            part.main || part.pieces.is_empty() || part.pieces.iter().any(wanted) || self.has_children(part)
        };
        let left = self.parts.iter().filter(|part| !keep(part));
        let left = left.map(|part| LeftOut { dataset: part.dataset.clone(), mountpoint: part.mountpoint.clone() });
        (self.parts.iter().filter(|part| keep(part)).cloned().collect(), left.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TESTED;

    const TABLE: &str = "/dev/vda1 / ext4 rw 0 0
ta /ta zfs rw 0 0
ta/pg /ta/pg zfs rw 0 0
ta/pg/wal /ta/pg/wal zfs rw 0 0
ta/pg/base /ta/pg/data/base zfs rw 0 0
tmpfs /ta/pg/data/pg_stat_tmp tmpfs rw 0 0
tb/space /space zfs rw 0 0
";

    fn piece(role: &str, path: &str) -> Piece {
        Piece { role: role.into(), path: path.into(), content: true }
    }

    fn mounts() -> Mounts {
        Mounts::read(TABLE, &["zfs"])
    }

    fn pieces() -> Vec<Piece> {
        vec![piece("data directory", "/ta/pg/data"), piece("pg_wal", "/ta/pg/wal/x"), piece("16400", "/space/a")]
    }

    fn names(layout: &Layout) -> Vec<&str> {
        layout.parts.iter().map(|part| part.dataset.as_str()).collect()
    }

    #[test]
    fn every_dataset_of_the_data_is_found_and_those_apart_are_named() {
        let layout = Layout::resolve(&mounts(), &pieces(), &[], false, TESTED).unwrap();
        assert_eq!(names(&layout), ["ta/pg", "ta/pg/base", "ta/pg/wal", "tb/space"]);
        assert_eq!(layout.separate(), ["pg_wal", "16400"]);
        assert!(layout.parts[0].main);
    }

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let mut now = pieces();
        let layout = Layout::resolve(&mounts(), &now, &[], false, TESTED).unwrap();
        now[1].content = false;
        let (kept, left) = layout.split(&now);
        assert_eq!(kept.len(), 3);
        assert_eq!(left[0].dataset, "ta/pg/wal");
    }

    #[test]
    fn what_no_snapshot_can_hold_is_refused() {
        let mounts = mounts();
        let resolve = |pieces: &[Piece], asked: &[&str], recursive| {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            Layout::resolve(&mounts, pieces, &asked, recursive, TESTED)
        };
        let home = [piece("data directory", "/home/pg")];
        assert!(matches!(resolve(&home, &[], false), Err(Uncovered::Elsewhere { .. })));
        assert!(matches!(resolve(&pieces(), &["ta/pg"], false), Err(Uncovered::NotAsked { .. })));
        assert!(matches!(resolve(&pieces()[..2], &["ta/none", "ta"], true), Err(Uncovered::NotMounted { .. })));
        let whole = resolve(&pieces()[..2], &["ta/pg"], true).unwrap();
        assert_eq!(names(&whole), ["ta/pg", "ta/pg/base", "ta/pg/wal"]);
    }
}
