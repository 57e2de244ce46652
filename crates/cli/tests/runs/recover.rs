//! What becomes of runs that were killed.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use serde_json::Value;

use super::{Done, reseed_in, start_in};

/// A run that has come so far that it waits.
fn waiting(directory: &Path, acts: &[&str]) -> Child {
    let mut child = start_in(directory, "run", acts, &[]);
    let said = BufReader::new(child.stderr.take().unwrap());
    let mut lines = said.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting now")), "it did not come so far");
    child
}

/// A run that is killed while it waits.
fn kill(directory: &Path, acts: &[&str]) {
    let mut child = waiting(directory, acts);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn status(directory: &Path) -> (Done, Vec<Value>) {
    let done = reseed_in(directory, "status", &[], &["--json"]);
    let lines = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (done, lines)
}

pub(super) fn killed() {
    let directory = tempfile::tempdir().unwrap();
    kill(directory.path(), &["work", "wait"]);
    let (done, runs) = status(directory.path());
    assert_eq!((done.code, runs.len(), &runs[0]["state"]), (4, 1, &Value::from("died")));
    assert_eq!(runs[0]["left"][0]["by_hand"], "rm wait");
    assert_eq!(runs[0]["stages"][0]["state"], "finished");
    let told = reseed_in(directory.path(), "status", &[], &[]);
    assert!(told.out.contains("died in test-act") && told.out.contains("left: take back work"), "{}", told.out);

    let recovered = reseed_in(directory.path(), "recover", &[], &["--json"]);
    assert_eq!(recovered.code, 0, "{}", recovered.err);
    let last: Value = serde_json::from_str(recovered.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&Value::from("recover.finished"), &Value::from("undone")));
    assert_eq!(last["undone"], serde_json::json!(["take back wait", "take back work"]));
    let (done, runs) = status(directory.path());
    assert_eq!((done.code, &runs[0]["state"]), (0, &Value::from("undone")));
    let again = reseed_in(directory.path(), "recover", &[], &[]);
    assert_eq!((again.code, again.err.trim()), (0, "no run has died"));
}

pub(super) fn before_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    kill(directory.path(), &["work", "wait"]);
    let next = reseed_in(directory.path(), "run", &["work"], &["--json"]);
    assert_eq!(next.code, 0, "{}", next.err);
    assert!(next.err.contains("died; taking it to its end"), "{}", next.err);
    let last: Value = serde_json::from_str(next.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&Value::from("run.finished"), &Value::from("done")));
    let (done, runs) = status(directory.path());
    let states: Vec<_> = runs.iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!((done.code, states), (0, vec!["undone", "done"]));
}

pub(super) fn stuck() {
    let directory = tempfile::tempdir().unwrap();
    kill(directory.path(), &["work-for-good", "wait"]);
    let next = reseed_in(directory.path(), "run", &["work"], &["--json"]);
    assert_eq!(next.code, 4, "{}", next.err);
    assert!(next.err.contains("  rm work-for-good\n"), "{}", next.err);
    let last: Value = serde_json::from_str(next.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&Value::from("run.finished"), &Value::from("stuck")));
    assert_eq!(reseed_in(directory.path(), "recover", &[], &[]).code, 4);
    let (done, runs) = status(directory.path());
    assert_eq!((done.code, runs.len(), &runs[0]["state"]), (4, 1, &Value::from("stuck")));
    assert_eq!(runs[0]["left"][0]["error"], "it is for good");

    let run = runs[0]["run"].as_str().unwrap();
    assert_eq!(reseed_in(directory.path(), "recover", &[], &["--forget", run]).code, 0);
    assert_eq!(reseed_in(directory.path(), "run", &["work"], &[]).code, 0);
}

/// Two targets that no other test has.
fn targets(directory: &Path) -> [String; 2] {
    ["a", "b"].map(|name| directory.join(name).display().to_string())
}

/// What a reboot of the machine does to the lock on a target.
fn forget_lock(target: &str) {
    let plain: String = format!("directory {target}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let plain = &plain[..plain.len().min(60)];
    let is_it = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(plain));
    let directories =
        ["/run/reseed-locks".into(), format!("/tmp/reseed-locks-{}", rustix::process::geteuid().as_raw())];
    let files = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let mine: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| is_it(path)).collect();
    assert!(!mine.is_empty(), "there is no lock on {target}");
    mine.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

pub(super) fn stuck_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = targets(directory.path());
    kill(directory.path(), &[&format!("work-for-good@{a}"), "wait"]);
    let elsewhere = reseed_in(directory.path(), "run", &[&format!("work@{b}")], &[]);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.err);
    assert!(elsewhere.err.contains("which died, is not taken back"), "{}", elsewhere.err);
    assert!(elsewhere.err.contains("  hint: reseed recover"), "{}", elsewhere.err);
    forget_lock(&a);
    let here = reseed_in(directory.path(), "run", &[&format!("work@{a}")], &[]);
    assert_eq!(here.code, 4, "{}", here.err);
    assert!(here.err.contains("  rm work-for-good\n"), "{}", here.err);
    let again = reseed_in(directory.path(), "run", &[&format!("work@{b}")], &[]);
    assert_eq!(again.code, 0, "{}", again.err);
}

pub(super) fn damaged() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = targets(directory.path());
    kill(directory.path(), &[&format!("work@{a}"), "wait"]);
    let (_, runs) = status(directory.path());
    let run = runs[0]["run"].as_str().unwrap();
    let journal = directory.path().join(format!("state/runs/{run}.jsonl"));
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("take back work", "take back WORK", 1)).unwrap();

    let elsewhere = reseed_in(directory.path(), "run", &[&format!("work@{b}")], &[]);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.err);
    assert!(elsewhere.err.contains("is not what was written"), "{}", elsewhere.err);
    forget_lock(&a);
    let here = reseed_in(directory.path(), "run", &[&format!("work@{a}")], &[]);
    assert_eq!(here.code, 3, "{}", here.err);
    assert!(here.err.contains(&format!("reseed recover --scan FILE --run {run}")), "{}", here.err);

    kill(directory.path(), &[&format!("wait@{b}")]);
    let recovered = reseed_in(directory.path(), "recover", &[], &[]);
    assert_eq!(recovered.code, 4, "{}", recovered.err);
    for told in ["undone: take back wait", "is not what was written", "  hint: mv "] {
        assert!(recovered.err.contains(told), "{told}: {}", recovered.err);
    }
    assert!(!recovered.err.contains("undone: take back work"), "{}", recovered.err);
    let named = reseed_in(directory.path(), "recover", &[], &[run, "--json"]);
    assert_eq!(named.code, 4, "{}", named.err);
    let told: Value = serde_json::from_str(&named.out).unwrap();
    assert_eq!(told["event"], "warning");
}

pub(super) fn unknown() {
    let directory = tempfile::tempdir().unwrap();
    for (command, flags) in [("status", &["NOPE"][..]), ("recover", &["NOPE"]), ("recover", &["--forget", "NOPE"])] {
        let done = reseed_in(directory.path(), command, &[], flags);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{command}: {}", done.err);
        assert!(
            done.err.contains("there is no run NOPE") && done.err.contains("  hint: reseed status"),
            "{}",
            done.err
        );
    }
}

pub(super) fn no_place() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("state"), "a file is in the way").unwrap();
    let done = reseed_in(directory.path(), "run", &["work"], &["--json"]);
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(done.err.contains("nothing was touched") && done.err.contains("RESEED_STATE_DIR"), "{}", done.err);

    std::fs::remove_file(directory.path().join("state")).unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::set_permissions(directory.path().join("state"), PermissionsExt::from_mode(0o777)).unwrap();
    let done = reseed_in(directory.path(), "run", &["work"], &[]);
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(done.err.contains("others than this user can write"), "{}", done.err);
}

pub(super) fn live() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = waiting(directory.path(), &["work", "wait"]);
    let (done, runs) = status(directory.path());
    assert_eq!((done.code, &runs[0]["state"]), (0, &Value::from("running")));
    assert_eq!(runs[0]["owner"]["pid"], child.id());
    let other = reseed_in(directory.path(), "recover", &[], &[]);
    assert_eq!((other.code, other.err.trim()), (0, "no run has died"));
    child.kill().unwrap();
    child.wait().unwrap();
}
