//! docs/safety.md promises nothing whose proof is not there.

use std::path::PathBuf;

/// Everything in backticks that names a test: `file::test`.
fn proofs(document: &str) -> Vec<(String, String)> {
    let quoted = document.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|text| text.split_once(".rs::"));
    named.map(|(file, test)| (format!("{file}.rs"), test.to_owned())).collect()
}

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a file has a function of this name, or lists a trial of it. What one macro makes many tests of counts
/// as one.
fn has(file: &str, test: &str) -> bool {
    let text = read(file);
    if text.contains(&format!("trial(\"{test}\",")) || lists(&text, test) {
        return true;
    }
    let begin = format!("fn {test}");
    let mut found = text.match_indices(&begin).map(|(at, _)| &text[at + begin.len()..]);
    (text.contains("#[test]") || text.contains("#[tokio::test")) && found.any(|rest| rest.starts_with(['(', '<']))
}

/// Whether a program of its own lists a trial of this name.
fn lists(text: &str, test: &str) -> bool {
    let listed = text.split_once("mortal::program(&[").and_then(|(_, rest)| rest.split_once("])"));
    listed.is_some_and(|(trials, _)| trials.contains(&format!("(\"{test}\", ")))
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let document = read("docs/safety.md");
    let proofs = proofs(&document);
    assert!(proofs.len() > 40, "{}", proofs.len());
    let missing: Vec<_> = proofs.iter().filter(|(file, test)| !has(file, test)).collect();
    assert!(missing.is_empty(), "docs/safety.md names what is not there: {missing:#?}");
    let unproven =
        |line: &&str| line.starts_with("| ") && !line.contains(".rs::") && !line.contains("nothing proves this yet");
    let rows = document.lines().filter(unproven).filter(|line| !line.ends_with("| proof |"));
    assert_eq!(rows.collect::<Vec<_>>(), Vec::<&str>::new(), "a promise says what proves it, or that nothing does yet");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(has("tests/tests/safety.rs", "a_test_that_is_not_there_is_noticed"));
    assert!(!has("tests/tests/safety.rs", "a_test_that_is_not_there"));
    assert!(has("crates/cli/tests/runs.rs", "a_live_run_is_left_alone"));
    assert!(!has("crates/cli/tests/runs.rs", "a_live_run"));
    assert!(has("tests/tests/unwind_power.rs", "what_was_not_synced_is_lost"));
    assert!(!has("tests/tests/unwind_power.rs", "what_was_not_synced"));
    assert_eq!(proofs("x `a/b.rs::c_d` `--e` y"), [("a/b.rs".to_owned(), "c_d".to_owned())]);
}
