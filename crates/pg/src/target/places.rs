//! Where each directory of the source goes on the target.

use std::collections::BTreeMap;

use reseed_core::item::Place;
use reseed_core::{Error, Result};

use super::survey::Old;
use crate::facts::Layout;

/// What the pipeline file says about places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Where `pg_wal` shall be.
    pub(crate) wal_directory: Option<String>,
    /// Tablespaces by their path on the source.
    pub(crate) tablespaces: BTreeMap<String, String>,
}

/// The places of the data directory, of `pg_wal` where it is apart, and of each tablespace: as
/// wished, else where the old standby has them, else where the source has them.
///
/// # Errors
/// A refusal when a wish names nothing of the source, or two things would be in one place.
pub(crate) fn places(source: &Layout, target: &str, old: Option<&Old>, wishes: &Wishes) -> Result<Vec<Place>> {
    let place = |source: &str, target: String| Place { source: source.to_owned(), target };
    let mut places = vec![place(&source.data_directory, target.to_owned())];
    places.extend(wal(source, target, old, wishes)?.map(|(from, to)| place(from, to)));
    for path in wishes.tablespaces.keys() {
        if !source.tablespaces.iter().any(|tablespace| tablespace.path == *path) {
            return Err(unknown(path, source));
        }
    }
    for tablespace in &source.tablespaces {
        let had = old.and_then(|old| old.tablespaces.iter().find(|had| had.oid == tablespace.oid));
        let to = wishes.tablespaces.get(&tablespace.path).or(had.map(|had| &had.path)).unwrap_or(&tablespace.path);
        places.push(place(&tablespace.path, to.clone()));
    }
    sound(&places)?;
    Ok(places)
}

type Wal<'a> = Option<(&'a str, String)>;

fn wal<'a>(source: &'a Layout, target: &str, old: Option<&Old>, wishes: &Wishes) -> Result<Wal<'a>> {
    let Some(from) = source.wal_directory.as_deref() else {
        return match &wishes.wal_directory {
            None => Ok(None),
            Some(_) => {
                Err(Error::refused("`wal_directory` is set, but the primary's pg_wal is inside its data directory")
                    .hint("take `wal_directory` out, or give pg_wal a dataset of its own on the primary first"))
            }
        };
    };
    let inside = || from.strip_prefix(source.data_directory.as_str()).map(|rest| format!("{target}{rest}"));
    let had = old.and_then(|old| old.wal_directory.clone());
    let to = wishes.wal_directory.clone().or(had).or_else(inside).unwrap_or_else(|| from.to_owned());
    Ok(Some((from, to)))
}

fn unknown(path: &str, source: &Layout) -> Error {
    let known: Vec<_> = source.tablespaces.iter().map(|tablespace| tablespace.path.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::refused(format!("the primary has no tablespace in {path}"))
        .hint(format!("tablespaces of the primary: {known}; correct `tablespace_mapping`"))
}

fn sound(places: &[Place]) -> Result<()> {
    for (at, place) in places.iter().enumerate() {
        // Versions of PostgreSQL differ in how tablespace_map escapes these.
        if place.target.contains(['\n', '\r', '\\']) {
            return Err(Error::refused(format!("{:?} has a line end or a backslash in it", place.target))
                .hint("map it to another path by `tablespace_mapping`"));
        }
        if let Some(other) = places[..at].iter().find(|other| other.target == place.target) {
            let (one, two, target) = (&other.source, &place.source, &place.target);
            return Err(Error::refused(format!("{one} and {two} of the primary would both go to {target}"))
                .hint("give each a place of its own by `tablespace_mapping` or `wal_directory`"));
        }
    }
    Ok(())
}

/// The place of a directory of the source.
pub(crate) fn target_of<'a>(places: &'a [Place], source: &str) -> Option<&'a str> {
    places.iter().find(|place| place.source == source).map(|place| place.target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Tablespace;

    fn layout(wal: Option<&str>) -> Layout {
        Layout {
            data_directory: "/p/data".into(),
            wal_directory: wal.map(str::to_owned),
            tablespaces: vec![Tablespace { oid: 16384, path: "/p/ts".into() }],
        }
    }

    fn shown(source: &Layout, wishes: &Wishes) -> String {
        match places(source, "/s/data", None, wishes) {
            Ok(places) => places.iter().map(|place| format!("{}→{} ", place.source, place.target)).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_a_wish_everything_goes_where_the_source_has_it() {
        assert_eq!(shown(&layout(None), &Wishes::default()), "/p/data→/s/data /p/ts→/p/ts ");
        assert_eq!(shown(&layout(Some("/p/wal")), &Wishes::default()), "/p/data→/s/data /p/wal→/p/wal /p/ts→/p/ts ");
        let mounted = layout(Some("/p/data/pg_wal"));
        assert_eq!(shown(&mounted, &Wishes::default()), "/p/data→/s/data /p/data/pg_wal→/s/data/pg_wal /p/ts→/p/ts ");
    }

    #[test]
    fn wishes_are_heeded_and_judged() {
        let mapping = |from: &str, to: &str| BTreeMap::from([(from.to_owned(), to.to_owned())]);
        let wishes = Wishes { wal_directory: Some("/s/wal".into()), tablespaces: mapping("/p/ts", "/s/ts") };
        assert_eq!(shown(&layout(Some("/p/wal")), &wishes), "/p/data→/s/data /p/wal→/s/wal /p/ts→/s/ts ");
        assert!(shown(&layout(None), &wishes).contains("inside its data directory"));
        let typo = Wishes { wal_directory: None, tablespaces: mapping("/p/tss", "/s/ts") };
        assert_eq!(shown(&layout(None), &typo), "the primary has no tablespace in /p/tss");
        let twice = Wishes { wal_directory: None, tablespaces: mapping("/p/ts", "/s/data") };
        assert!(shown(&layout(None), &twice).ends_with("would both go to /s/data"));
    }
}
