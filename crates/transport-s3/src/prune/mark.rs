//! What is to go, and since when: an object of the repository, so that any machine may remove it later.

use std::collections::BTreeMap;

use bytes::Bytes;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::format::{VERSION, check_preface, safe};
use crate::store::{Key, Sha256, Store};

/// What every mark calls itself.
const FORMAT: &str = "reseed-prune";
/// Where marks are.
const MARKS: &str = "prune/";

/// Objects that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format: String,
    version: u32,
    /// When it was written, in seconds since 1970.
    at: u64,
    /// Each object, and since when nothing needs it.
    objects: BTreeMap<String, u64>,
}

impl Mark {
    pub(super) fn new(at: u64, objects: BTreeMap<String, u64>) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, at, objects }
    }

    pub(super) fn since(&self, object: &str) -> Option<u64> {
        self.objects.get(object).copied()
    }

    /// The newest mark, and the objects of all. Only the newest counts: what is not in it was needed since.
    pub(super) async fn newest(store: &dyn Store) -> Result<(Option<Self>, Vec<Key>)> {
        let (mut newest, mut all) = (None::<Self>, vec![]);
        for object in store.list(MARKS).await? {
            let Some(bytes) = store.get(&object.key).await? else { continue };
            let Ok(mark) = read(&object.key, &bytes) else { continue };
            all.push(object.key);
            if newest.as_ref().is_none_or(|newest| newest.at <= mark.at) {
                newest = Some(mark);
            }
        }
        Ok((newest, all))
    }

    /// Writes it as the mark of this run.
    pub(super) async fn write(&self, store: &dyn Store, run: &str) -> Result<Key> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::failed("no mark can be made").because(e))?;
        let bytes = Bytes::from(text);
        let key = Key::new(format!("{MARKS}{}.json", safe(run)))?;
        store.put(&key, bytes.clone(), Sha256::of(&bytes)).await?;
        Ok(key)
    }
}

fn read(key: &Key, bytes: &[u8]) -> Result<Mark> {
    check_preface(key, bytes, FORMAT)?;
    serde_json::from_slice(bytes).map_err(|error| crate::format::altered(key).because(error))
}
