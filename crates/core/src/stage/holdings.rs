//! What a target tells that it holds.

/// What a target holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Who holds it: a name that is the same in every run for one target and differs between targets.
    pub target: String,
    /// One entry for each dataset that was asked for.
    pub datasets: Vec<Holding>,
}

/// What a target holds of one dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// The dataset on the source.
    pub dataset: String,
    /// Identities of snapshots that an increment may start from, the oldest first.
    pub guids: Vec<String>,
}

impl Holdings {
    /// Identities held of this dataset.
    pub fn of(&self, dataset: &str) -> &[String] {
        let holding = self.datasets.iter().find(|holding| holding.dataset == dataset);
        holding.map(|holding| holding.guids.as_slice()).unwrap_or_default()
    }
}
