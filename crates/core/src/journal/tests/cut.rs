//! What becomes of a run whose journal ends anywhere: a power cut leaves a whole number of its lines.

use super::*;

/// Whatever a run writes, in the order in which it does.
fn whole(test: &str) -> Vec<Entry> {
    vec![
        armed(test, 1, None, None, "a"),
        armed(test, 2, None, None, "b"),
        armed(test, 3, None, None, "c"),
        Entry::Disarmed { id: 2, also: vec![] },
        armed(test, 4, None, None, "d"),
        Entry::Undone { id: 4 },
        armed(test, 5, None, None, "e"),
        Entry::Committed { stack: None, chores: vec![chore(test)] },
    ]
}

fn chore(test: &str) -> Record {
    Record::of_chore(&Step { test: test.to_owned(), name: "chore".to_owned() }).unwrap()
}

/// The rule in its plainest words: what is armed and neither disarmed nor undone, the last first; after the
/// commit only the chores.
fn expected(entries: &[Entry]) -> Vec<String> {
    let mut armed: Vec<(u64, String)> = vec![];
    for entry in entries {
        match entry {
            Entry::Armed { id, undo, .. } => armed.push((*id, undo.data["name"].as_str().unwrap().to_owned())),
            Entry::Disarmed { id, also } => armed.retain(|(known, _)| known != id && !also.contains(known)),
            Entry::Undone { id } => armed.retain(|(known, _)| known != id),
            Entry::Committed { .. } => return vec!["chore".to_owned()],
            _ => {}
        }
    }
    armed.into_iter().rev().map(|(_, name)| name).collect()
}

#[tokio::test]
async fn a_journal_that_ends_behind_any_entry_is_taken_to_the_end_that_the_rule_says() {
    for cut in 0..=whole("").len() {
        let (test, directory) = (format!("cut {cut}"), tempfile::tempdir().unwrap());
        let entries = &whole(&test)[..cut];
        let state = die(directory.path(), entries);
        recovered(&state).await;
        assert_eq!(done(&test), expected(entries), "cut behind {cut} entries");
        assert!(state.dead().unwrap().runs.is_empty());
    }
}

/// The power fails again while the run is taken back.
#[tokio::test]
async fn taking_back_that_ends_anywhere_goes_on_where_it_was() {
    let entries = 5;
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect();
    for cut in 0..=expected(&whole("")[..entries]).len() {
        let (test, directory) = (format!("again {cut}"), tempfile::tempdir().unwrap());
        let entries = &whole(&test)[..entries];
        let state = die(directory.path(), entries);
        recovered(&state).await;
        let path = state.path().join("runs/r1.jsonl");
        let all: Vec<String> = lines(&path);
        // In front of them: which run it is; behind them: who takes it back.
        std::fs::write(&path, all[..2 + entries.len() + cut].concat()).unwrap();
        DONE.lock().unwrap().retain(|(by, _)| *by != test);
        let again = recovered(&state).await;
        assert_eq!((again.len(), again[0].outcome), (1, Outcome::Undone), "cut behind {cut}");
        assert_eq!(done(&test), expected(entries)[cut..], "cut behind {cut}");
    }
}
