//! The binary's exit codes and its two outputs, for calls and files that are wrong.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn reseed(args: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
    command.args(args).current_dir(folder).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_wrong_call_exits_with_2_and_says_so_on_standard_error() {
    for args in [
        &["run"][..],
        &["frobnicate"],
        &["run", "a.toml", "--set", "novalue"],
        &["run", "a.toml", "--quiet", "--verbose"],
        &["plan", "samples/reset-standby.toml", "--set", "primary=a", "--set", "primary=b"],
        &["run", "no-such-file.toml"],
        &["check", "tests/configs"],
        &["stages", "no-such-stage"],
    ] {
        let output = reseed(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && text(&output.stderr).contains("error:"), "{args:?}");
    }
}

#[test]
fn a_wrong_file_exits_with_2_in_every_command_before_anything_is_touched() {
    for command in ["run", "plan", "check"] {
        let output = reseed(&[command, "tests/configs/bad/unknown-stage.toml"]);
        assert_eq!(code(&output), 2);
        let told = text(&output.stderr);
        assert!(output.stdout.is_empty() && told.contains("nothing was touched"), "{told}");
        assert!(told.contains("there is no stage `rsync`") && told.is_ascii(), "{told}");
    }
}

#[test]
fn problems_are_told_as_json_too() {
    let output = reseed(&["run", "tests/configs/bad/unknown-stage.toml", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), told["event"].as_str()), (2, Some("file.wrong")));
    assert_eq!((told["problems"][0]["line"].as_u64(), told["problems"][0]["column"].as_u64()), (Some(11), Some(7)));
    assert!(text(&output.stderr).contains("nothing was touched"));

    let output = reseed(&["run", "no-such-file.toml", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), told["event"].as_str()), (2, Some("call.wrong")));
}

#[test]
fn help_and_what_is_generated_exit_with_0() {
    for args in [&["--help"][..], &["--version"], &["stages"], &["stages", "zstd"], &["stages", "--json"], &["schema"]]
    {
        let output = reseed(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&reseed(&["completions", shell]).stdout).contains("reseed"));
    }
    assert!(text(&reseed(&["man"]).stdout).contains(".TH reseed 1"));
}

/// A full disk under standard output is no success; a reader that has seen enough is none of its business.
#[test]
fn data_that_can_not_be_written_exits_with_1_and_a_closed_pipe_is_quiet() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let state = tempfile::tempdir().unwrap();
    let into = |args: &[&str], out: std::process::Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
        command.args(args).current_dir(&folder).env("RESEED_STATE_DIR", state.path());
        command.stdout(out).output().unwrap()
    };
    for args in [
        &["--help"][..],
        &["stages"],
        &["stages", "--json"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
        &["plan", "samples/reset-standby.toml", "--set", "primary=x", "--offline"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = into(args, full.into());
        let told = text(&output.stderr);
        assert_eq!(code(&output), 1, "{args:?}: {told}");
        assert_eq!(told.matches("error: can't write to standard output").count(), 1, "{args:?}: {told}");
        assert!(told.contains("  hint: "), "{args:?}: {told}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = into(args, writer.into());
        assert_eq!((code(&output), text(&output.stderr)), (0, ""), "{args:?}");
    }
}

#[test]
fn a_plan_without_machines_reads_in_the_order_of_the_file() {
    let output = reseed(&["plan", "samples/reset-standby.toml", "--set", "primary=x", "--offline", "--json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stages: Vec<_> =
        plan["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages[0], "pg-quiesce");
    assert_eq!(plan["surveyed"], false);
    assert_eq!(plan["stages"][stages.len() - 1]["gives"], "standby");
}
