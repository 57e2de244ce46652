//! The plugin keeps the contracts that reseed-core exports.

use std::path::Path;
use std::sync::Arc;

use reseed_core::Class;
use reseed_core::config::Resources;
use reseed_core::engine::{Engine, Pipeline};
use reseed_core::host::{LocalConfig, LocalHost};
use reseed_core::stage::Stage;
use reseed_core::stages::Exec;
use reseed_core::testkit;
use reseed_plugin_maintenance::Flag;

fn flag(path: &Path) -> Flag {
    let host = LocalHost::new("local", &LocalConfig::default());
    Flag::new(Arc::new(host), path.to_str().unwrap())
}

/// The stage as a pipeline file gives it.
fn stage(path: &Path) -> Arc<dyn Stage> {
    testkit::stage(&format!("use = \"maintenance-flag\"\npath = \"{}\"", path.display()))
}

#[tokio::test]
async fn its_undo_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flag");
    let flag = flag(&path).of_run("a run");
    testkit::holds_as_an_undo(&flag, async || flag.raise().await.unwrap(), async || !path.exists()).await;
    testkit::survives_being_written(&flag, &Resources::local());
}

#[tokio::test]
async fn nothing_is_left_of_a_run_that_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flag");
    testkit::unwinds(|| vec![stage(&path)], async || !path.exists()).await;
}

#[tokio::test]
async fn the_flag_is_up_while_the_rest_of_the_run_lasts_and_down_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flag");
    let source = Exec::new(["test", "-e", path.to_str().unwrap()]).source(Some(reseed_core::Format::new("none")));
    let stages = vec![stage(&path), source, Exec::new(["cat"]).sink()];
    let report = Engine::new(Pipeline::new("flag", stages)).run().await;
    assert_eq!((report.exit_code(), report.error.as_deref()), (0, None));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_flag_of_somebody_else_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flag");
    std::fs::write(&path, "theirs").unwrap();
    let refusal = Engine::new(Pipeline::new("flag", vec![stage(&path)])).check().await.unwrap_err();
    assert_eq!(refusal[0].class(), Class::Refused);
    let error = flag(&path).of_run("a run").raise().await.unwrap_err();
    assert!(error.chain().contains("raise-flag"), "{}", error.chain());
    reseed_core::undo::Undo::undo(&flag(&path).of_run("a run")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
}

#[test]
fn what_the_documentation_shows_is_what_is_built() {
    let built = [include_str!("../src/lib.rs"), include_str!("../src/main.rs"), include_str!("contract.rs")].concat();
    let shown = include_str!("../../../docs/plugins.md");
    let blocks: Vec<_> = shown.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 4);
    for line in blocks.iter().flat_map(|block| block.lines()) {
        assert!(built.contains(line), "docs/plugins.md shows what is not there: {line}");
    }
}
