//! Hosts and other resources inside an undo are written by their name in the pipeline file, and found
//! by it again.
//!
//! ```
//! # use std::sync::Arc;
//! # use reseed_core::host::Host;
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! struct RemoveFlag {
//!     #[serde(with = "reseed_core::undo::by_name")]
//!     host: Arc<dyn Host>,
//!     path: String,
//! }
//! ```

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serializer};

use crate::config::Resources;
use crate::host::Host;
use crate::registry::HostResource;

thread_local! {
    /// What names mean to the record that this thread is reading just now. Serde gives a type no other
    /// way to be told.
    static MEANT: RefCell<Option<Resources>> = const { RefCell::new(None) };
}

/// Reads something in which names mean these resources.
pub(super) fn within<T>(resources: &Resources, read: impl FnOnce() -> T) -> T {
    struct Restore(Option<Resources>);
    impl Drop for Restore {
        fn drop(&mut self) {
            MEANT.set(self.0.take());
        }
    }
    let _restore = Restore(MEANT.replace(Some(resources.clone())));
    read()
}

/// The resource of this name, for a `deserialize` function of a crate that brings a table of its own.
///
/// # Errors
/// When there is none, when it can't be built, and outside of the reading of a record.
pub fn resource<T: Any + Send + Sync, E: serde::de::Error>(table: &str, name: &str) -> Result<Arc<T>, E> {
    let meant = MEANT.with_borrow(Clone::clone);
    let meant = meant.ok_or_else(|| E::custom("a name means something only in a record that is being read"))?;
    meant.get(table, name).map_err(|error| E::custom(error.chain()))
}

/// Writes a host's name.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(host: &Arc<dyn Host>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(host.name())
}

/// Finds a host by its name.
///
/// # Errors
/// As [`resource`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<dyn Host>, D::Error> {
    let name = String::deserialize(deserializer)?;
    resource::<HostResource, D::Error>("hosts", &name).map(|host| Arc::clone(&host.0))
}
