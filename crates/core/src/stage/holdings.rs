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
    /// What it has of a stream that was cut off.
    pub cut_off: Option<CutOff>,
}

/// The beginning of a stream that a target has, and with which it can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Identity of the snapshot that was sent.
    pub guid: String,
    /// Identity of the one that the increment started from; `None` for a whole.
    pub from_guid: Option<String>,
    /// Where it goes on, in the storage's own words.
    pub token: String,
}

impl Holding {
    /// These snapshots of a dataset, and nothing of a stream that was cut off.
    pub fn of(dataset: impl Into<String>, guids: Vec<String>) -> Self {
        Self { dataset: dataset.into(), guids, cut_off: None }
    }
}

impl Holdings {
    /// Identities held of this dataset.
    pub fn of(&self, dataset: &str) -> &[String] {
        let holding = self.datasets.iter().find(|holding| holding.dataset == dataset);
        holding.map(|holding| holding.guids.as_slice()).unwrap_or_default()
    }

    /// What it has of a stream of this dataset that was cut off.
    pub fn cut_off(&self, dataset: &str) -> Option<&CutOff> {
        self.datasets.iter().find(|holding| holding.dataset == dataset)?.cut_off.as_ref()
    }
}
