//! Where each copied volume is in the end, so that every directory in it comes to its place. Pure.

use reseed_core::item::{LeftOut, Place, SnapshotPart};

use crate::{Terms, below};

/// A volume of the source that has a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The volume on the source.
    pub dataset: String,
    /// Where it is mounted there.
    pub mountpoint: String,
    /// Whether it holds the first piece.
    pub main: bool,
}

impl Origin {
    /// The volume of a part.
    pub fn of(part: &SnapshotPart) -> Self {
        Self { dataset: part.dataset.clone(), mountpoint: part.mountpoint.clone(), main: part.main }
    }

    /// A volume whose content stayed behind.
    pub fn empty(left: &LeftOut) -> Self {
        Self { dataset: left.dataset.clone(), mountpoint: left.mountpoint.clone(), main: false }
    }
}

/// Why a copy has no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Astray {
    /// No directory of the source is in it or above it.
    #[error("nothing says where the copy of {0} goes")]
    Nowhere(String),
    /// The directory lies deeper in its volume than its place allows.
    #[error("{place} can't be the place of {source_path}: in its {volume} it lies in `{rest}`", volume = terms.volume)]
    Depth {
        /// On the source.
        source_path: String,
        /// On the target.
        place: String,
        /// What is behind the source's mount point.
        rest: String,
        /// The storage's words.
        terms: &'static Terms,
    },
    /// Two directories of one volume go to places that no one mount gives.
    #[error("two directories in {dataset} go to different mount points, {one} and {other}")]
    Apart {
        /// The volume on the source.
        dataset: String,
        /// One mount point.
        one: String,
        /// The other one.
        other: String,
    },
}

impl Astray {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Astray::Nowhere(dataset) => format!("see what is in {dataset}; only parts of the data are copied"),
            Astray::Depth { rest, terms, .. } => {
                format!("let the target's path end in `{rest}`, with a {} above it", terms.volume)
            }
            Astray::Apart { .. } => "let the target's directories lie to each other as the source's do".to_owned(),
        }
    }
}

/// Where each copy is mounted, so that every directory in it comes to its place.
///
/// # Errors
/// When there is no such place.
pub fn mountpoints(all: &[Origin], places: &[Place], terms: &'static Terms) -> Result<Vec<String>, Astray> {
    all.iter().map(|origin| mountpoint(origin, all, places, terms)).collect()
}

/// Where a copy is mounted, so that each directory in it comes to its place.
///
/// # Errors
/// When there is no such place.
pub fn mountpoint(origin: &Origin, all: &[Origin], places: &[Place], terms: &'static Terms) -> Result<String, Astray> {
    let mut found: Option<String> = None;
    for place in places.iter().filter(|place| home(&place.source, all) == Some(&origin.mountpoint)) {
        let rest = below(&place.source, &origin.mountpoint).unwrap_or_default();
        let here = place.target.strip_suffix(rest).ok_or_else(|| Astray::Depth {
            source_path: place.source.clone(),
            place: place.target.clone(),
            rest: rest.trim_start_matches('/').to_owned(),
            terms,
        })?;
        let here = if here.is_empty() { "/" } else { here };
        match &found {
            Some(other) if other != here => {
                let (dataset, one) = (origin.dataset.clone(), other.clone());
                return Err(Astray::Apart { dataset, one, other: here.to_owned() });
            }
            _ => found = Some(here.to_owned()),
        }
    }
    found.or_else(|| inside(origin, places)).ok_or_else(|| Astray::Nowhere(origin.dataset.clone()))
}

/// The mount point of the volume that a path of the source lies in.
fn home<'o>(path: &str, all: &'o [Origin]) -> Option<&'o String> {
    let above = all.iter().map(|origin| &origin.mountpoint).filter(|mountpoint| below(path, mountpoint).is_some());
    above.max_by_key(|mountpoint| mountpoint.len())
}

/// The mount point of a volume that is mounted inside a directory that has a place.
fn inside(origin: &Origin, places: &[Place]) -> Option<String> {
    let above = places.iter().filter_map(|place| Some((place, below(&origin.mountpoint, &place.source)?)));
    above.min_by_key(|(_, rest)| rest.len()).map(|(place, rest)| format!("{}{rest}", place.target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TESTED;

    fn origin(dataset: &str, mountpoint: &str) -> Origin {
        Origin { dataset: dataset.into(), mountpoint: mountpoint.into(), main: dataset == "ta/pg" }
    }

    fn place(source: &str, target: &str) -> Place {
        Place { source: source.into(), target: target.into() }
    }

    #[test]
    fn every_directory_comes_to_its_place() {
        let all = [origin("ta/pg", "/ta/pg"), origin("ta/pg/wal", "/ta/pg/wal"), origin("ta/base", "/ta/pg/data/base")];
        let places = [place("/ta/pg/data", "/data/pgsql/data"), place("/ta/pg/wal", "/fast/wal")];
        let found = mountpoints(&all, &places, TESTED).unwrap();
        assert_eq!(found, ["/data/pgsql", "/fast/wal", "/data/pgsql/data/base"]);
    }

    #[test]
    fn what_fits_no_mount_is_refused() {
        let all = [origin("ta/pg", "/ta/pg")];
        let wrong = |places: &[Place]| mountpoints(&all, places, TESTED).unwrap_err();
        let depth = wrong(&[place("/ta/pg/data", "/data/pgsql")]);
        assert!(matches!(&depth, Astray::Depth { rest, .. } if rest == "data"), "{depth}");
        assert!(matches!(
            wrong(&[place("/ta/pg/a", "/data/pgsql/a"), place("/ta/pg/b", "/data/b")]),
            Astray::Apart { .. }
        ));
        assert!(matches!(wrong(&[]), Astray::Nowhere(_)));
    }
}
