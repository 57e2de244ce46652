//! What runs have left, without their journals.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Done, reseed_in};

/// A run of which nobody here knows.
const RUN: &str = "20260102t030405-00ab12";

/// Calls it where every stage finds something of a run.
#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn scan(directory: &Path, run: &str, args: &[&str]) -> Done {
    let file = directory.join("test.toml");
    let stages = ["work", "fail"].map(|act| format!("[[stage]]\nuse = \"test-act\"\nact = \"{act}\"\n"));
    std::fs::write(&file, format!("name = \"test\"\n{}", stages.concat())).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.arg("as-reseed").args(args).arg("--scan").arg(file).stdin(Stdio::null());
    program.env("RESEED_STATE_DIR", directory.join("state")).env("RESEED_TEST_LEFT", run);
    let output = program.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn states(done: &Done) -> Vec<(String, String)> {
    let lines = done.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|one| (text(&one["name"]), text(&one["state"]))).collect()
}

pub(super) fn named() {
    let directory = tempfile::tempdir().unwrap();
    let told = scan(directory.path(), RUN, &["status", "--json"]);
    let unclear = |name: &str| (name.to_owned(), "unclear".to_owned());
    assert_eq!((told.code, states(&told)), (0, vec![unclear("fail"), unclear("work")]), "{}", told.err);
    let told = scan(directory.path(), RUN, &["status"]);
    for wanted in
        ["act work on here\n    of the run 20260102t030405-00ab12, since 2026-01-02 03:04:05 UTC", "by hand: rm work"]
    {
        assert!(told.out.contains(wanted), "{wanted}: {}", told.out);
    }

    let nothing = scan(directory.path(), RUN, &["recover"]);
    assert_eq!((nothing.code, nothing.err.trim()), (0, "nothing is left of a dead run"));
    let other = scan(directory.path(), RUN, &["recover", "--run", "20260102t030405-00ab13"]);
    assert_eq!((other.code, other.err.trim()), (0, "nothing is left of a dead run"));
    let taken = scan(directory.path(), RUN, &["recover", "--run", RUN]);
    assert_eq!(taken.code, 0, "{}", taken.err);
    let order = taken.err.find("take back fail").zip(taken.err.find("take back work"));
    assert!(order.is_some_and(|(first, last)| first < last), "{}", taken.err);
    assert_eq!(scan(directory.path(), RUN, &["recover", "--run", "x"]).code, 2);
}

pub(super) fn recorded() {
    let directory = tempfile::tempdir().unwrap();
    let ended = reseed_in(directory.path(), "run", &["work"], &["--json"]);
    let last: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    let run = last["run"].as_str().unwrap();
    let told = scan(directory.path(), run, &["status", "--json"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(states(&told).iter().all(|(_, state)| state == "kept"), "{}", told.out);
}
