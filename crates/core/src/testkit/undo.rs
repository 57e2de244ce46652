//! What every undo promises.

use crate::config::Resources;
use crate::undo::{Record, StoredUndo, Undo};

/// Undoes when nothing was done, then after the act, then once more.
///
/// `act` does what the undo takes back, and `is_gone` says whether nothing of it is left.
///
/// # Panics
/// With what is not held.
pub async fn holds_as_an_undo(undo: &dyn Undo, act: impl AsyncFnOnce(), mut is_gone: impl AsyncFnMut() -> bool) {
    let name = undo.describe();
    assert!(!name.is_empty(), "it has no description");
    assert!(!undo.by_hand().is_empty(), "{name}: there is no command that a person would type");
    done(undo, "with nothing there").await;
    assert!(is_gone().await, "{name}: with nothing there, it made something");
    act().await;
    assert!(!is_gone().await, "{name}: the act left nothing that could be seen");
    done(undo, "after the act").await;
    assert!(is_gone().await, "{name}: something is left");
    done(undo, "a second time").await;
    assert!(is_gone().await, "{name}: the second time made something");
}

async fn done(undo: &dyn Undo, when: &str) {
    if let Err(error) = undo.undo().await {
        panic!("{} failed {when}: {}", undo.describe(), error.chain());
    }
}

/// Writes an undo down, as into a journal, and reads it again on these resources, as another process would.
///
/// # Panics
/// When it is not the same afterwards.
pub fn survives_being_written<U: StoredUndo>(undo: &U, resources: &Resources) {
    let record = Record::of(undo).unwrap_or_else(|error| panic!("{}", error.chain()));
    let line = serde_json::to_string(&record).expect("a record is JSON");
    let read: Record = serde_json::from_str(&line).expect("it was just written");
    let revived = read.revive(resources).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!((revived.describe(), revived.by_hand()), (undo.describe(), undo.by_hand()), "{line}");
    let again = read.again(resources).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(again, record, "{line}");
}
