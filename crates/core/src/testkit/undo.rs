//! What every undo promises.

use crate::undo::Undo;

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
