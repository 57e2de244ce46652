//! Which volume of the target a volume of the source is received as. Pure.

use std::collections::BTreeMap;

use crate::{Terms, name};

/// Where volumes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Each below this one, under its own last name.
    Into(String),
    /// The main one takes this name itself.
    Over(String),
}

/// Gives each volume of the source its name on the target. Parents must be asked for before
/// their children.
#[derive(Debug, Clone)]
pub struct Mapping {
    goal: Goal,
    map: BTreeMap<String, String>,
    seen: Vec<(String, String)>,
}

/// Why a volume has no place on the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    /// Two volumes of the source would be received as one.
    #[error("{0} and {1} of the source would both be received as {2}")]
    Collision(String, String, String),
    /// It is neither the main volume nor below another one.
    #[error("nothing says as what {0} of the source is to be received")]
    Nowhere(String),
}

impl Unmapped {
    /// What a person can do about it.
    pub fn hint(&self, terms: &'static Terms) -> String {
        let source = match self {
            Unmapped::Collision(_, source, _) | Unmapped::Nowhere(source) => source,
        };
        format!("add `map = {{ \"{source}\" = \"{}\" }}` to the stage", terms.example)
    }
}

impl Mapping {
    /// A mapping that has given no name yet.
    pub fn new(goal: Goal, map: BTreeMap<String, String>) -> Self {
        Self { goal, map, seen: vec![] }
    }

    /// The name of this volume on the target.
    pub fn target(&mut self, source: &str, main: bool) -> Result<String, Unmapped> {
        if let Some((_, target)) = self.seen.iter().find(|(seen, _)| seen == source) {
            return Ok(target.clone());
        }
        let target = self.name_for(source, main)?;
        if let Some((other, _)) = self.seen.iter().find(|(_, taken)| *taken == target) {
            return Err(Unmapped::Collision(other.clone(), source.to_owned(), target));
        }
        self.seen.push((source.to_owned(), target.clone()));
        Ok(target)
    }

    /// All names that were given.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(|(_, target)| target.as_str())
    }

    fn name_for(&self, source: &str, main: bool) -> Result<String, Unmapped> {
        if let Some(target) = self.map.get(source) {
            return Ok(target.clone());
        }
        let above = self.seen.iter().filter_map(|(seen, target)| Some((target, name::under(source, seen)?)));
        match (&self.goal, above.min_by_key(|(_, rest)| rest.len())) {
            (Goal::Over(over), _) if main => Ok(over.clone()),
            (_, Some((target, rest))) => Ok(format!("{target}{rest}")),
            (Goal::Into(into), None) => Ok(format!("{into}/{}", name::last(source))),
            (Goal::Over(_), None) => Err(Unmapped::Nowhere(source.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn into(map: &[(&str, &str)]) -> Mapping {
        let map = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        Mapping::new(Goal::Into("data/reseed".into()), map.collect())
    }

    #[test]
    fn children_stay_below_their_parents() {
        let mut mapping = into(&[("ta/pg/wal", "fast/wal")]);
        assert_eq!(mapping.target("ta/pg", true).unwrap(), "data/reseed/pg");
        assert_eq!(mapping.target("ta/pg/a/b", false).unwrap(), "data/reseed/pg/a/b");
        assert_eq!(mapping.target("ta/pg/wal", false).unwrap(), "fast/wal");
        assert_eq!(mapping.target("ta/pg/wal/x", false).unwrap(), "fast/wal/x");
        assert_eq!(mapping.target("tz/space", false).unwrap(), "data/reseed/space");
        let collision = mapping.target("tz/pg", false).unwrap_err();
        assert!(collision.hint(crate::TESTED).contains("\"tz/pg\""), "{collision}");
        assert_eq!(mapping.target("ta/pg", true).unwrap(), "data/reseed/pg");
    }

    #[test]
    fn in_place_only_the_main_one_is_known() {
        let mut mapping = Mapping::new(Goal::Over("data/pgsql".into()), BTreeMap::new());
        assert_eq!(mapping.target("tz/space", false), Err(Unmapped::Nowhere("tz/space".into())));
        assert_eq!(mapping.target("ta/pg", true).unwrap(), "data/pgsql");
        assert_eq!(mapping.target("ta/pg/wal", false).unwrap(), "data/pgsql/wal");
    }
}
