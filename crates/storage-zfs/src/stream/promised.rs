//! What the list of a compound stream promises: `zfs send -R` ends its stream in good form even where it
//! could not send all of it.

use std::collections::BTreeMap;

use super::nvlist::{List, Value};

/// Snapshots that must still come, by GUID.
#[derive(Debug, Default)]
pub(super) struct Promised(BTreeMap<u64, String>);

impl Promised {
    /// The last snapshot of every dataset that the list names.
    pub fn by(list: &List) -> Self {
        let (Some(last), Some(datasets)) = (list.text("tosnap"), list.list("fss")) else { return Self::default() };
        let of = |(_, dataset): &(String, Value)| {
            let Value::List(dataset) = dataset else { return None };
            let guid = dataset.list("snaps")?.number(last)?;
            Some((guid, format!("{}@{last}", dataset.text("name").unwrap_or_default())))
        };
        Self(datasets.0.iter().filter_map(of).collect())
    }

    /// A stream of this snapshot came to its end.
    pub fn came(&mut self, guid: u64) {
        self.0.remove(&guid);
    }

    /// The first of those that did not come, and how many others; `None` when all came.
    pub fn missing(&self) -> Option<String> {
        let first = self.0.values().next()?;
        Some(match self.0.len() - 1 {
            0 => first.clone(),
            others => format!("{first} and {others} more"),
        })
    }
}
