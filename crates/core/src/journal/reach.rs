//! What a run works on: whether two runs meet.

use super::{Begin, Story, Target};
use crate::config::Resources;
use crate::registry::HostResource;

/// What a run works on, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The pipeline's name.
    pipeline: Option<String>,
    places: Vec<Place>,
}

/// A target, and where its machine is reached; `None` where that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    address: Option<String>,
    target: Target,
}

impl Reach {
    /// What a run of this pipeline works on: targets, each with its machine's address.
    pub(crate) fn new(pipeline: &str, targets: Vec<(String, Target)>) -> Self {
        let places = targets.into_iter().map(|(address, target)| Place { address: Some(address), target });
        Self { pipeline: Some(pipeline.to_owned()), places: places.collect() }
    }

    /// What the run of this story worked on.
    pub fn of(story: &Story) -> Self {
        Self::told(Some(&story.begin), &story.targets)
    }

    /// What could be read of a run.
    pub(super) fn told(begin: Option<&Begin>, targets: &[Target]) -> Self {
        let resources = begin.and_then(|begin| Resources::read(&begin.file, &begin.set).ok());
        let address = |target: &Target| {
            let host = resources.as_ref()?.get::<HostResource>("hosts", &target.host).ok()?;
            Some(host.0.address())
        };
        let places = targets.iter().map(|target| Place { address: address(target), target: target.clone() });
        Self { pipeline: begin.map(|begin| begin.pipeline.clone()), places: places.collect() }
    }

    /// Whether what one of two runs left may be in the way of the other. A run that locks nothing is in
    /// the way of its own pipeline alone. One machine that has two addresses is two here: there, the lock
    /// on the machine itself tells.
    pub fn meets(&self, other: &Self) -> bool {
        if self.places.is_empty() || other.places.is_empty() {
            return self.pipeline.is_some() && self.pipeline == other.pipeline;
        }
        self.places.iter().any(|place| other.places.iter().any(|one| place.may_be(one)))
    }
}

impl Place {
    fn may_be(&self, other: &Self) -> bool {
        let one = self.target.what == other.target.what && overlap(&self.target.name, &other.target.name);
        let apart = self.address.is_some() && other.address.is_some() && self.address != other.address;
        one && !apart
    }
}

/// Whether one of two names is the other, or above it.
fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || short.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(pipeline: &str, places: &[(Option<&str>, &str)]) -> Reach {
        let place = |(address, name): &(Option<&str>, &str)| Place {
            address: address.map(str::to_owned),
            target: Target { host: "h".into(), what: "directory".into(), name: (*name).to_owned() },
        };
        Reach { pipeline: Some(pipeline.to_owned()), places: places.iter().map(place).collect() }
    }

    #[test]
    fn runs_meet_at_one_target_of_one_machine_and_where_that_is_not_known() {
        let one = reach("p", &[(Some("a"), "/data")]);
        assert!(one.meets(&reach("q", &[(Some("b"), "/data"), (Some("a"), "/data")])));
        assert!(one.meets(&reach("q", &[(None, "/data")])));
        assert!(!one.meets(&reach("p", &[(Some("b"), "/data")])));
        assert!(!one.meets(&reach("p", &[(Some("a"), "/other")])) && !one.meets(&reach("p", &[(Some("a"), "/data2")])));
        // What is inside of another goes with it.
        assert!(one.meets(&reach("q", &[(Some("a"), "/data/b")])) && one.meets(&reach("q", &[(Some("a"), "/")])));
        // What locks nothing meets its like.
        assert!(one.meets(&reach("p", &[])) && reach("p", &[]).meets(&reach("p", &[])));
        assert!(!one.meets(&reach("q", &[])));
        // Of what nothing is known, the lock on the target tells.
        assert!(!one.meets(&Reach::default()) && !Reach::default().meets(&Reach::default()));
    }
}
