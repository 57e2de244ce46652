//! A run that died after others could rely on its work, and before it could write down that it had committed.

use super::*;

#[tokio::test]
async fn what_stands_is_not_taken_back() {
    let (test, directory) = ("stands", tempfile::tempdir().unwrap());
    let state = die(directory.path(), &[armed(test, 1, None, None, "a"), armed(test, 2, None, None, "it stands")]);
    let all = recovered(&state).await;
    assert_eq!((all[0].outcome, all[0].undone.len()), (Outcome::Done, 0));
    assert_eq!(done(test), Vec::<String>::new());
    assert!(recovered(&state).await.is_empty(), "it is written down");
    assert!(state.found().unwrap()[0].story.as_ref().unwrap().has_committed());
}

#[tokio::test]
async fn what_does_not_stand_goes_as_everything_does() {
    let (test, directory) = ("falls", tempfile::tempdir().unwrap());
    let state = die(directory.path(), &[armed(test, 1, None, None, "a"), armed(test, 2, None, None, "it falls")]);
    assert_eq!(recovered(&state).await[0].outcome, Outcome::Undone);
    assert_eq!(done(test), ["it falls", "a"]);
}

#[tokio::test]
async fn nothing_is_taken_back_while_it_can_not_be_told() {
    let (test, directory) = ("unknown", tempfile::tempdir().unwrap());
    let elsewhere = Record { kind: "of-another-plugin".into(), ..Step::record(test, "it stands") };
    for decides in [Step::record(test, "unknown"), elsewhere] {
        let directory = tempfile::tempdir_in(directory.path()).unwrap();
        let last = Entry::Armed { id: 2, stack: None, branch: None, undo: decides };
        let state = die(directory.path(), &[armed(test, 1, None, None, "a"), last]);
        for _ in 0..2 {
            let all = recovered(&state).await;
            assert_eq!((all[0].outcome, all[0].stuck.len()), (Outcome::Stuck, 2), "{all:?}");
        }
    }
    assert_eq!(done(test), Vec::<String>::new());
}

#[tokio::test]
async fn a_branch_that_stands_keeps_what_it_stands_on_and_the_others_go() {
    let (test, directory) = ("one stands", tempfile::tempdir().unwrap());
    let entries = [
        armed(test, 1, None, None, "snapshot"),
        armed(test, 2, None, Some("two"), "slot of two"),
        armed(test, 3, Some("one"), None, "copy of one"),
        armed(test, 4, Some("one"), None, "it stands"),
        armed(test, 5, Some("two"), None, "copy of two"),
    ];
    let state = die(directory.path(), &entries);
    assert_eq!(recovered(&state).await[0].outcome, Outcome::Done);
    assert_eq!(done(test), ["copy of two", "slot of two"]);
}
