//! Undos and chores as they stand in a journal.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::by_name::within;
use super::{Chore, StoredChore, StoredUndo, Undo};
use crate::config::Resources;
use crate::registry::{self, ChorePlugin, UndoPlugin};
use crate::{Error, Result};

/// An undo or a chore as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The name by which its type is registered.
    pub kind: String,
    /// What it does, as a phrase: for those who read the journal, and where its type is not there.
    pub does: String,
    /// The command that a person would type; empty for a chore.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by_hand: String,
    /// Whether it is asked first if anything may be taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
    /// What it is made of.
    pub data: Value,
}

impl Record {
    /// The record of an undo.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn of<U: StoredUndo>(undo: &U) -> Result<Self> {
        let data = serde_json::to_value(undo).map_err(|error| unwritable(U::KIND, error))?;
        Ok(Self {
            kind: U::KIND.to_owned(),
            does: undo.describe(),
            by_hand: undo.by_hand(),
            decides: undo.decides(),
            data,
        })
    }

    /// The record of a chore.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn of_chore<C: StoredChore>(chore: &C) -> Result<Self> {
        let data = serde_json::to_value(chore).map_err(|error| unwritable(C::KIND, error))?;
        Ok(Self { kind: C::KIND.to_owned(), does: chore.describe(), by_hand: String::new(), decides: false, data })
    }

    /// The undo that this is the record of, on these resources.
    ///
    /// # Errors
    /// When its type is not linked into this program, when a resource that it names is not there, and
    /// when it is not what this version of its type would have written.
    pub fn revive(&self, resources: &Resources) -> Result<Arc<dyn Undo>> {
        self.read::<UndoPlugin, _>(registry::undo(&self.kind), |plugin| {
            within(resources, || (plugin.revive)(self.data.clone()))
        })
    }

    /// The chore that this is the record of, on these resources.
    ///
    /// # Errors
    /// As [`revive`](Self::revive).
    pub fn revive_chore(&self, resources: &Resources) -> Result<Arc<dyn Chore>> {
        self.read::<ChorePlugin, _>(registry::chore(&self.kind), |plugin| {
            within(resources, || (plugin.revive)(self.data.clone()))
        })
    }

    /// The same record, written anew from what was read of it.
    ///
    /// # Errors
    /// As [`revive`](Self::revive).
    pub fn again(&self, resources: &Resources) -> Result<Self> {
        self.read::<UndoPlugin, _>(registry::undo(&self.kind), |plugin| {
            within(resources, || (plugin.again)(self.data.clone()))
        })
    }

    fn read<P: 'static, T>(
        &self,
        plugin: Option<&'static P>,
        read: impl FnOnce(&P) -> serde_json::Result<T>,
    ) -> Result<T> {
        let Some(plugin) = plugin else {
            return Err(Error::failed(format!("this program does not know `{}`", self.kind))
                .hint("use the reseed, with the plugins, that began the run"));
        };
        read(plugin).map_err(|error| Error::failed(format!("can't make out the record of `{}`: {error}", self.kind)))
    }
}

fn unwritable(kind: &str, error: serde_json::Error) -> Error {
    Error::failed(format!("`{kind}` can't be written down")).because(error)
}
