//! What a journal promises, on undos that only note what they were asked.

mod cut;
mod settles;
mod stands;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::event::{Blind, Observer};
use crate::report::Outcome;
use crate::undo::{Chore, Record, Undo};
use crate::{Error, register_chore, register_undo};

/// What was done in this process, by the name of the test that did it.
static DONE: Mutex<Vec<(String, String)>> = Mutex::new(vec![]);

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    test: String,
    name: String,
}

impl Step {
    fn record(test: &str, name: &str) -> Record {
        Record::of(&Self { test: test.to_owned(), name: name.to_owned() }).unwrap()
    }

    fn done(&self) {
        DONE.lock().unwrap().push((self.test.clone(), self.name.clone()));
    }
}

register_undo!("journal-test-step", Step);
register_chore!("journal-test-step", Step);

#[async_trait]
impl Undo for Step {
    fn describe(&self) -> String {
        format!("take back {}", self.name)
    }

    fn by_hand(&self) -> String {
        format!("rm {}", self.name)
    }

    async fn undo(&self) -> Result<()> {
        self.done();
        if self.name.contains("stuck") { Err(Error::failed("still there")) } else { Ok(()) }
    }

    fn decides(&self) -> bool {
        ["stands", "falls", "unknown"].iter().any(|word| self.name.contains(word))
    }

    async fn stands(&self) -> Result<bool> {
        if self.name.contains("unknown") {
            Err(Error::failed("nobody answers"))
        } else {
            Ok(self.name.contains("stands"))
        }
    }
}

#[async_trait]
impl Chore for Step {
    fn describe(&self) -> String {
        format!("chore {}", self.name)
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.done();
        Ok(None)
    }
}

fn done(test: &str) -> Vec<String> {
    DONE.lock().unwrap().iter().filter(|(by, _)| by == test).map(|(_, name)| name.clone()).collect()
}

fn written(directory: &Path) -> Written {
    let file = "name = \"t\"\n[[stage]]\nuse = \"unknown\"\nx = \"${y}\"\n".to_owned();
    let set = BTreeMap::from([("y".to_owned(), "1".to_owned())]);
    Written { state: StateDirectory::at(directory.join("state")), path: "t.toml".into(), file, set }
}

fn armed(test: &str, id: u64, stack: Option<&str>, branch: Option<&str>, name: &str) -> Entry {
    let text = |name: Option<&str>| name.map(str::to_owned);
    Entry::Armed { id, stack: text(stack), branch: text(branch), undo: Step::record(test, name) }
}

/// Writes these entries as a run that dies then.
fn die(directory: &Path, entries: &[Entry]) -> StateDirectory {
    let written = written(directory);
    let journal = written.begin("r1", "t").unwrap();
    entries.iter().for_each(|entry| journal.write(entry).unwrap());
    written.state
}

async fn recovered(state: &StateDirectory) -> Vec<Recovery> {
    let observer: Arc<dyn Observer> = Arc::new(Blind);
    let mut all = vec![];
    for run in state.dead().unwrap().runs {
        all.push(recover(run, &observer, &CancellationToken::new()).await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_run_that_died_is_taken_back_last_in_first_out_and_then_no_more() {
    let (test, directory) = ("plain", tempfile::tempdir().unwrap());
    let entries = [
        armed(test, 1, None, None, "a"),
        armed(test, 2, None, None, "b"),
        Entry::Disarmed { id: 2, also: vec![] },
        armed(test, 3, None, None, "c"),
        armed(test, 4, None, None, "d"),
        Entry::Undone { id: 4 },
        armed(test, 5, None, None, "e"),
        armed(test, 6, None, None, "f"),
        Entry::Disarmed { id: 5, also: vec![6] },
    ];
    let state = die(directory.path(), &entries);
    let all = recovered(&state).await;
    assert_eq!((all.len(), all[0].outcome), (1, Outcome::Undone));
    assert_eq!(all[0].undone, ["take back c", "take back a"]);
    assert_eq!(done(test), ["c", "a"]);
    assert!(recovered(&state).await.is_empty());
}

#[tokio::test]
async fn a_run_that_had_committed_stays_and_its_chores_are_done() {
    let (test, directory) = ("committed", tempfile::tempdir().unwrap());
    let chores = vec![Record::of_chore(&Step { test: test.into(), name: "prune".into() }).unwrap()];
    let entries = [armed(test, 1, None, None, "a"), Entry::Committed { stack: None, chores }];
    let state = die(directory.path(), &entries);
    let all = recovered(&state).await;
    assert_eq!(all[0].outcome, Outcome::Done);
    assert_eq!(done(test), ["prune"]);
    assert!(recovered(&state).await.is_empty());
}

#[tokio::test]
async fn a_branch_that_had_committed_keeps_what_it_stands_on_and_the_others_go() {
    let (test, directory) = ("branches", tempfile::tempdir().unwrap());
    let entries = [
        armed(test, 1, None, None, "snapshot"),
        armed(test, 2, None, Some("one"), "slot of one"),
        armed(test, 3, None, Some("two"), "slot of two"),
        armed(test, 4, Some("one"), None, "copy of one"),
        armed(test, 5, Some("two"), None, "copy of two"),
        Entry::Committed { stack: Some("one".into()), chores: vec![] },
    ];
    let state = die(directory.path(), &entries);
    let all = recovered(&state).await;
    assert_eq!(all[0].outcome, Outcome::Done);
    assert_eq!(done(test), ["copy of two", "slot of two"]);
}

#[tokio::test]
async fn branches_go_before_what_they_share() {
    let (test, directory) = ("both branches", tempfile::tempdir().unwrap());
    let entries = [
        armed(test, 1, None, None, "snapshot"),
        armed(test, 2, None, Some("one"), "slot of one"),
        armed(test, 3, Some("one"), None, "copy of one"),
    ];
    let state = die(directory.path(), &entries);
    recovered(&state).await;
    assert_eq!(done(test), ["copy of one", "slot of one", "snapshot"]);
}

#[tokio::test]
async fn what_is_stuck_is_told_and_tried_again_until_somebody_has_seen_to_it() {
    let (test, directory) = ("stuck", tempfile::tempdir().unwrap());
    let unknown = Record { kind: "of-another-plugin".into(), ..Step::record(test, "other") };
    let entries = [
        armed(test, 1, None, None, "a"),
        armed(test, 2, None, None, "stuck"),
        Entry::Armed { id: 3, stack: None, branch: None, undo: unknown },
    ];
    let state = die(directory.path(), &entries);
    for undone in [vec!["take back a"], vec![]] {
        let all = recovered(&state).await;
        assert_eq!(
            (all[0].outcome, &all[0].undone),
            (Outcome::Stuck, &undone.into_iter().map(str::to_owned).collect())
        );
        let told: Vec<_> = all[0].stuck.iter().map(|stuck| (stuck.by_hand.as_str(), stuck.error.as_str())).collect();
        assert_eq!(told[1], ("rm stuck", "still there"));
        assert!(told[0].1.contains("does not know `of-another-plugin`"), "{told:?}");
    }
    state.dead_run("r1").unwrap().journal.write(&Entry::Forgotten).unwrap();
    assert!(recovered(&state).await.is_empty());
}

#[test]
fn a_live_run_is_left_alone_and_its_state_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let written = written(directory.path());
    let journal = written.begin("r1", "t").unwrap();
    assert!(written.state.dead().unwrap().runs.is_empty());
    assert!(written.state.found().unwrap()[0].live);
    assert!(written.state.dead_run("r1").unwrap_err().chain().contains("is alive"));
    drop(journal);
    assert_eq!(written.state.dead().unwrap().runs.len(), 1);
    assert!(!written.state.found().unwrap()[0].live);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let runs = written.state.path().join("runs");
    assert_eq!((mode(written.state.path()), mode(&runs), mode(&runs.join("r1.jsonl"))), (0o700, 0o700, 0o600));
}

#[test]
fn what_others_could_have_written_is_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let state = die(directory.path(), &[]);
    let runs = state.path().join("runs");
    for path in [runs.join("r1.jsonl"), runs.clone()] {
        let before = path.metadata().unwrap().permissions();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let told = match state.dead() {
            Err(error) => error,
            Ok(mut dead) => {
                assert!(dead.runs.is_empty());
                dead.damaged.remove(0).error
            }
        };
        assert!(told.chain().contains("others than this user can write"), "{}", told.chain());
        std::fs::set_permissions(&path, before).unwrap();
    }
    assert_eq!(state.dead().unwrap().runs.len(), 1);
}

/// The power may go at any byte of a write. What was whole by then counts, and nothing else.
#[test]
fn a_journal_that_is_cut_at_any_byte_tells_what_was_whole() {
    let (test, directory) = ("cut", tempfile::tempdir().unwrap());
    let entries = [armed(test, 1, None, None, "a"), armed(test, 2, None, None, "b"), Entry::Undone { id: 2 }];
    let state = die(directory.path(), &entries);
    let path = state.path().join("runs/r1.jsonl");
    let bytes = std::fs::read(&path).unwrap();
    let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let left = [0, 1, 2, 1];
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        for tail in [&b""[..], b"\0\0\0", b"\xff\n"] {
            let cut_off = [&bytes[..cut], tail].concat();
            match (Story::read_to_end(&cut_off, &path), whole) {
                (Err(error), 0) => assert!(error.chain().contains("line 1"), "{}", error.chain()),
                (Ok((story, end)), 1..) => {
                    assert_eq!(story.left().len(), left[whole - 1], "cut at {cut}");
                    assert_eq!(story.torn, cut_off.len() != ends[whole - 1], "cut at {cut}");
                    assert_eq!(end.bytes as usize, ends[whole - 1]);
                }
                (read, _) => panic!("cut at {cut}: {read:?}"),
            }
        }
    }
}

#[test]
fn a_journal_goes_on_behind_its_last_whole_line() {
    let (test, directory) = ("torn", tempfile::tempdir().unwrap());
    let state = die(directory.path(), &[armed(test, 1, None, None, "a")]);
    let path = state.path().join("runs/r1.jsonl");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&bytes[..], b"{\"at\":\"2026"].concat()).unwrap();
    let run = state.dead().unwrap().runs.remove(0);
    assert!(run.story.torn);
    run.journal.write(&Entry::Undone { id: 1 }).unwrap();
    drop(run);
    let story = state.found().unwrap().remove(0).story.unwrap();
    assert!(story.left().is_empty() && !story.torn);
}

#[test]
fn a_line_that_is_not_what_was_written_is_told_by_its_number() {
    let (test, directory) = ("damaged", tempfile::tempdir().unwrap());
    let entries = [armed(test, 1, None, None, "a"), armed(test, 2, None, None, "b"), Entry::Undone { id: 2 }];
    let state = die(directory.path(), &entries);
    let path = state.path().join("runs/r1.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let changed = text.replacen("\"name\":\"a\"", "\"name\":\"x\"", 1);
    let missing = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[3]);
    let swapped = format!("{}\n{}\n{}\n{}\n", lines[0], lines[2], lines[1], lines[3]);
    for wrong in [changed, missing, swapped] {
        std::fs::write(&path, wrong).unwrap();
        let dead = state.dead().unwrap();
        let told = dead.damaged[0].error.chain();
        assert!(dead.runs.is_empty() && told.contains("line 2 of the journal"), "{told}");
        assert!(state.found().unwrap()[0].story.is_err());
    }
}

#[test]
fn a_journal_of_a_newer_version_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let state = die(directory.path(), &[]);
    let path = state.path().join("runs/r1.jsonl");
    let mut story = Story::read(&std::fs::read(&path).unwrap(), &path).unwrap();
    story.begin.version = VERSION + 1;
    std::fs::remove_file(&path).unwrap();
    FileJournal::create(&path, &Entry::Begin(Box::new(story.begin))).unwrap();
    let told = state.dead().unwrap().damaged.remove(0).error.chain();
    assert!(told.contains("newer reseed"), "{told}");
}

/// One journal that nobody can read keeps no other run from being taken to its end.
#[tokio::test]
async fn a_damaged_journal_is_told_with_what_it_worked_on_and_the_others_are_recovered() {
    let (test, directory) = ("beside a damaged one", tempfile::tempdir().unwrap());
    let target = |name: &str| Target { host: "local".into(), what: "directory".into(), name: name.into() };
    let state = die(directory.path(), &[armed(test, 1, None, None, "a")]);
    let journal = written(directory.path()).begin("r2", "t").unwrap();
    let entries = [Entry::Locked(target("/broken")), armed(test, 1, None, None, "b"), armed(test, 2, None, None, "c")];
    entries.iter().for_each(|entry| journal.write(entry).unwrap());
    drop(journal);
    let path = state.path().join("runs/r2.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"name\":\"b\"", "\"name\":\"x\"", 1)).unwrap();

    let observer: Arc<dyn Observer> = Arc::new(Blind);
    let swept = state.recover(|_| true, &observer, &CancellationToken::new()).await.unwrap();
    assert_eq!(swept.taken.len(), 1);
    assert_eq!(swept.taken[0].end.as_ref().unwrap().undone, ["take back a"]);
    assert_eq!(done(test), ["a"]);
    let damaged = &swept.damaged[0];
    assert_eq!((swept.damaged.len(), damaged.run.as_str()), (1, "r2"));
    let hint = damaged.error.hint_text().unwrap();
    assert!(hint.contains("r2.jsonl.damaged") && hint.contains("--run r2"), "{hint}");
    let run_on = |name: &str| Reach::new("other", vec![("local".into(), target(name))]);
    assert!(damaged.reach.meets(&run_on("/broken")) && !damaged.reach.meets(&run_on("/whole")));
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), text.len(), "it is left as it is");
}

/// Whoever looks at a journal holds nobody up, and is not taken for its run.
#[test]
fn a_run_is_held_although_somebody_looks_at_its_journal_all_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let state = die(directory.path(), &[]);
    let stop = CancellationToken::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.is_cancelled() {
                    state.found().unwrap();
                }
            });
        }
        for _ in 0..300 {
            let held = state.dead_run("r1").map(|run| run.story.begin.run);
            assert_eq!(held.map_err(|error| error.chain()), Ok("r1".to_owned()));
        }
        stop.cancel();
    });
}

#[test]
fn a_journal_that_a_crash_left_unseen_goes_and_one_that_is_being_begun_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let state = die(directory.path(), &[]);
    let age = |path: &Path| {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200)).unwrap();
        file
    };
    let [old, young, held] = ["old", "young", "held"].map(|name| state.path().join("runs").join(format!("{name}.new")));
    [&old, &young, &held].into_iter().for_each(|path| std::fs::write(path, "").unwrap());
    age(&old);
    let holder = age(&held);
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    state.prune(std::time::Duration::ZERO).unwrap();
    assert_eq!([&old, &young, &held].map(|path| path.exists()), [false, true, true]);
}

#[test]
fn history_goes_when_its_time_is_over_but_nothing_that_is_open() {
    let (test, directory) = ("history", tempfile::tempdir().unwrap());
    let state = die(directory.path(), &[armed(test, 1, None, None, "a")]);
    state.prune(std::time::Duration::ZERO).unwrap();
    assert_eq!(state.found().unwrap().len(), 1, "it is open");
    let ended = Ended { outcome: Outcome::Undone, exit_code: 1, report: None };
    let run = state.dead().unwrap().runs.remove(0);
    run.journal.write(&Entry::Undone { id: 1 }).and_then(|()| run.journal.write(&Entry::Ended(ended))).unwrap();
    drop(run);
    state.prune(std::time::Duration::from_secs(3600)).unwrap();
    assert_eq!(state.found().unwrap().len(), 1, "it is young");
    state.prune(std::time::Duration::ZERO).unwrap();
    assert!(state.found().unwrap().is_empty());
}
