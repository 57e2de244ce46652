//! What is generated from the code is as it is committed.

use std::path::Path;

fn committed(path: &str, now: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let then = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(then, now)| then != now);
    let line = differs.unwrap_or_else(|| then.lines().count().min(now.lines().count())) + 1;
    assert!(then == now, "{path} is not up to date, from line {line} on: run `make docs` and commit what it writes");
}

#[test]
fn the_reference_of_stages_is_up_to_date() {
    committed("docs/reference/stages.md", &reseed_cli::reference::stages_markdown());
}

#[test]
fn the_reference_of_commands_is_up_to_date() {
    let now = reseed_cli::reference::commands_markdown(reseed_cli::args::command_line());
    committed("docs/reference/commands.md", &now);
}

#[test]
fn the_schema_of_pipeline_files_is_up_to_date() {
    committed("docs/pipeline.schema.json", &format!("{:#}\n", reseed_core::config::pipeline_schema()));
}

#[test]
fn every_stage_and_every_key_is_documented() {
    for entry in reseed_cli::reference::entries() {
        assert!(!entry.doc.is_empty(), "{} has no description", entry.name);
        for key in &entry.keys {
            assert!(!key.doc.is_empty(), "{}: the key {} has no description", entry.name, key.name);
        }
    }
}
