//! What a target tells that it holds.

/// What a target holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Who holds it: a name that is the same in every run for one target and differs between targets.
    pub target: String,
    /// One entry for each dataset that was asked for.
    pub datasets: Vec<Holding>,
    /// How it takes a whole although it holds snapshots, for a hint; `None` where the storage that sends knows.
    pub anew: Option<&'static str>,
}

/// What a target holds of one dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// The dataset on the source.
    pub dataset: String,
    /// Identities of snapshots that an increment may start from, the oldest first.
    pub guids: Vec<String>,
    /// How the streams were made that it has, as their [headers](crate::item::StreamHeader::made) said; `None` where
    /// that is not known.
    pub made: Option<String>,
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
    /// These snapshots of a dataset, of which no more is known.
    pub fn of(dataset: impl Into<String>, guids: Vec<String>) -> Self {
        Self { dataset: dataset.into(), guids, ..Self::default() }
    }
}

impl Holdings {
    /// What a target of this name holds.
    pub fn at(target: impl Into<String>, datasets: Vec<Holding>) -> Self {
        Self { target: target.into(), datasets, anew: None }
    }

    /// Identities held of this dataset.
    pub fn of(&self, dataset: &str) -> &[String] {
        self.holding(dataset).map(|holding| holding.guids.as_slice()).unwrap_or_default()
    }

    /// How the streams of this dataset were made.
    pub fn made(&self, dataset: &str) -> Option<&str> {
        self.holding(dataset)?.made.as_deref()
    }

    /// What it has of a stream of this dataset that was cut off.
    pub fn cut_off(&self, dataset: &str) -> Option<&CutOff> {
        self.holding(dataset)?.cut_off.as_ref()
    }

    fn holding(&self, dataset: &str) -> Option<&Holding> {
        self.datasets.iter().find(|holding| holding.dataset == dataset)
    }
}
