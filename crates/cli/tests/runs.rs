//! How runs end: exit codes, signals and what is printed, of a `reseed` with stages of this test.
//!
//! This program is both: called with `as-reseed` it is such a `reseed`, otherwise it is the tests.

#[path = "runs/plugin.rs"]
mod plugin;
#[path = "runs/recover.rs"]
mod recover;
#[path = "runs/scan.rs"]
mod scan;
#[path = "runs/terminal.rs"]
mod terminal;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|first| first == "as-reseed") {
        return ExitCode::from(reseed_cli::main(args));
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    let trials = vec![
        trial("a_good_run_exits_with_0_and_its_last_json_line_is_the_report", good),
        trial("a_failed_run_exits_with_1_and_says_that_all_was_taken_back", failed),
        trial("a_panic_is_a_failure_like_another", panicked),
        trial("refusals_exit_with_3_each_with_its_hint", refused),
        trial("what_is_stuck_exits_with_4_and_is_told_as_commands", stuck),
        trial("a_signal_cancels_and_takes_back_with_130", cancelled),
        trial("a_second_signal_stops_taking_back_and_tells_what_is_left", cancelled_twice),
        trial("a_terminal_that_is_lost_cancels_and_takes_back", terminal::lost),
        trial("ctrl_c_in_a_terminal_reaches_reseed_and_no_child", terminal::interrupted),
        trial("nobody_who_listens_is_no_reason_to_fail", terminal::deaf),
        trial("what_nohup_ignores_is_ignored", terminal::nohup),
        trial("a_signal_ends_a_plan_and_a_check_too", interrupted),
        trial("check_tells_without_running", checked),
        trial("a_plan_shows_refusals_and_exits_with_0", planned),
        trial("a_run_that_was_killed_is_told_and_taken_back", recover::killed),
        trial("a_run_takes_back_what_a_killed_one_left_and_then_begins", recover::before_the_next_run),
        trial("no_run_begins_while_an_earlier_one_is_stuck", recover::stuck),
        trial("what_is_stuck_on_one_target_keeps_no_run_from_another", recover::stuck_elsewhere),
        trial("a_damaged_journal_keeps_no_run_from_another_target", recover::damaged),
        trial("a_run_that_is_not_known_is_a_wrong_call", recover::unknown),
        trial("a_run_whose_journal_cant_be_kept_is_refused", recover::no_place),
        trial("a_live_run_is_left_alone", recover::live),
        trial("what_is_found_without_a_journal_is_told_and_only_what_is_named_is_taken_back", scan::named),
        trial("what_a_run_left_that_has_a_journal_is_for_the_journal", scan::recorded),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

fn start(command: &str, acts: &[&str], flags: &[&str]) -> (Child, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (start_in(directory.path(), command, acts, flags), directory)
}

/// Starts it with the state of its runs in a directory. An act that changes something is `act@target`.
#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn start_in(directory: &Path, command: &str, acts: &[&str], flags: &[&str]) -> Child {
    let stages = acts.iter().map(|act| {
        let (act, target) = act.split_once('@').map_or((*act, None), |(act, target)| (act, Some(target)));
        let target = target.map(|target| format!("target = \"{target}\"\n"));
        format!("[[stage]]\nuse = \"test-act\"\nact = \"{act}\"\n{}", target.unwrap_or_default())
    });
    let file = directory.join("test.toml");
    std::fs::write(&file, format!("name = \"test\"\n{}", stages.collect::<String>())).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["as-reseed", command]).env("RESEED_STATE_DIR", directory.join("state"));
    if !acts.is_empty() {
        program.arg(file);
    }
    program.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn reseed(command: &str, acts: &[&str], flags: &[&str]) -> Done {
    let directory = tempfile::tempdir().unwrap();
    reseed_in(directory.path(), command, acts, flags)
}

fn reseed_in(directory: &Path, command: &str, acts: &[&str], flags: &[&str]) -> Done {
    let output = start_in(directory, command, acts, flags).wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// The report in the last line of standard output; every line before it must be an event too.
fn report(out: &str) -> Value {
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["event"].is_string()), "{out}");
    let last = lines.last().unwrap().clone();
    assert_eq!(last["event"], "run.finished");
    last
}

fn good() {
    let done = reseed("run", &["work", "work"], &["--json"]);
    let report = report(&done.out);
    assert_eq!((done.code, report["outcome"].as_str(), report["error"].is_null()), (0, Some("done"), true));
    assert!(done.err.contains("[2/2] test-act") && done.err.contains("done: test"), "{}", done.err);

    let quiet = reseed("run", &["work"], &["--quiet"]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
}

fn failed() {
    let done = reseed("run", &["work", "fail"], &["--json"]);
    assert_eq!((done.code, report(&done.out)["outcome"].as_str()), (1, Some("undone")));
    assert_eq!(report(&done.out)["error"], "stage test-act: no luck: a cause");
    for told in ["undone: take back work", "  hint: try `again`", "everything is as it was before the run"] {
        assert!(done.err.contains(told), "{told}: {}", done.err);
    }
    let quiet = reseed("run", &["work", "fail"], &["--quiet"]);
    assert!(quiet.err.contains("no luck") && !quiet.err.contains("undone:"), "{}", quiet.err);
}

fn panicked() {
    let done = reseed("run", &["work", "panic"], &[]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("bug: a test panics at ") && done.err.contains("everything is as it was"),
        "{}",
        done.err
    );
}

fn refused() {
    let done = reseed("run", &["refuse", "work", "refuse"], &["--json"]);
    assert_eq!((done.code, report(&done.out)["outcome"].as_str()), (3, Some("undone")));
    // What two stages say alike is told once.
    assert_eq!(done.err.matches("refused: test-act: will not\n  hint: ask `nicely`").count(), 1, "{}", done.err);
    assert!(done.err.ends_with("nothing was touched\n") && !done.err.contains("[1/3]"), "{}", done.err);
}

fn stuck() {
    let done = reseed("run", &["work", "work-for-good", "fail"], &["--json"]);
    assert_eq!((done.code, report(&done.out)["outcome"].as_str()), (4, Some("stuck")));
    assert!(done.err.ends_with("in the order in which to type it:\n  rm work-for-good\n"), "{}", done.err);
}

/// Reads until a line holds `wanted`.
fn await_line(err: &mut BufReader<ChildStderr>, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "the end came before `{wanted}`");
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn cancelled() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (mut child, _file) = start("run", &["work", "wait"], &[]);
        let mut err = BufReader::new(child.stderr.take().unwrap());
        await_line(&mut err, "waiting now");
        send(&child, signal);
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        for told in ["cancelling", "undone: take back work", "cancelled: test", "everything is as it was"] {
            assert!(rest.contains(told), "{told}: {rest}");
        }
    }
}

fn cancelled_twice() {
    let (mut child, _file) = start("run", &["work", "undo-waits", "wait"], &[]);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    await_line(&mut err, "waiting now");
    send(&child, Signal::INT);
    await_line(&mut err, "undone: take back wait");
    send(&child, Signal::INT);
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(rest.ends_with("to type it:\n  rm undo-waits\n  rm work\n"), "{rest}");
}

fn interrupted() {
    for command in ["plan", "check"] {
        let (mut child, _file) = start(command, &["slow-check"], &[]);
        let mut err = BufReader::new(child.stderr.take().unwrap());
        await_line(&mut err, "surveying now");
        send(&child, Signal::INT);
        await_line(&mut err, "cancelled; nothing was touched");
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}

fn checked() {
    let good = reseed("check", &["work", "work"], &[]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "", "test could run now\n"));
    let bad = reseed("check", &["work", "refuse"], &["--json"]);
    let told: Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!((bad.code, told["ok"].as_bool(), told["findings"][0]["index"].as_u64()), (3, Some(false), Some(1)));
    assert!(bad.err.contains("would be refused: 1 reason"), "{}", bad.err);
}

fn planned() {
    let plan = reseed("plan", &["work", "refuse"], &[]);
    assert_eq!((plan.code, plan.err.as_str()), (0, ""));
    assert!(plan.out.contains("would refuse: will not\n       hint: ask `nicely`\n"), "{}", plan.out);
    assert!(plan.out.ends_with("would be refused for 1 reason; nothing was touched\n"), "{}", plan.out);
    let offline = reseed("plan", &["work", "refuse"], &["--offline"]);
    assert!(offline.code == 0 && !offline.out.contains("would"), "{}", offline.out);
}
