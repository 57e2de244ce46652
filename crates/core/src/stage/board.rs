//! Findings of one stage that others need, by type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// A board on which stages of one run leave what others need to know: one value of each type.
///
/// Plain findings live here, and things that can't travel in an item, such as an open session.
#[derive(Debug, Default)]
pub struct Board {
    values: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Board {
    /// Leaves a value, replacing the one of its type.
    pub fn put<T: Any + Send + Sync>(&self, value: T) {
        self.lock().insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type, if some stage left one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.lock().get(&TypeId::of::<T>()).cloned();
        value.and_then(|value| value.downcast().ok())
    }

    /// The value of this type, which a stage can't do without.
    ///
    /// # Errors
    /// `missing`, as a [follow-up](Error::follow_up): if the stage that should have left it was refused,
    /// only that is told.
    pub fn need<T: Any + Send + Sync>(&self, missing: impl FnOnce() -> Error) -> Result<Arc<T>> {
        self.get().ok_or_else(|| missing().follow_up())
    }

    /// Takes the value of this type off the board.
    pub fn take<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.lock().remove(&TypeId::of::<T>());
        value.and_then(|value| value.downcast().ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TypeId, Arc<dyn Any + Send + Sync>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
