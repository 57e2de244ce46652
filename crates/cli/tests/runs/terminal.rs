//! Runs in a real terminal, and those whose terminal or readers are gone. `script` makes the terminal.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{await_line, send, start};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run in a terminal leaves: what was taken back, and its exit code.
struct Traces(tempfile::TempDir);

impl Traces {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The content of a file as soon as there is some.
    fn soon(&self, name: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            if !text.is_empty() {
                return text.trim().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A run of `reseed` in a terminal of its own.
#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
fn in_terminal(acts: &[&str]) -> (Child, Traces) {
    let traces = Traces(tempfile::tempdir().unwrap());
    let stages = acts.iter().map(|act| format!("[[stage]]\nuse = \"test-act\"\nact = \"{act}\"\n"));
    std::fs::write(traces.path("file"), format!("name = \"test\"\n{}", stages.collect::<String>())).unwrap();
    let program = std::env::current_exe().unwrap();
    // The inner shell outlives the signals, to tell how reseed ended. The outer one is the terminal's: as
    // a person's, it goes with the terminal, and the kernel then tells those in the foreground.
    let run = format!("'{}' as-reseed run '{}'", Path::new(&program).display(), traces.path("file"));
    let inner = format!("trap : HUP INT; {run}; echo $? > '{}'\n", traces.path("code"));
    std::fs::write(traces.path("inner"), inner).unwrap();
    let line = format!("trap : INT; sh '{}'; :", traces.path("inner"));
    // Whoever runs the tests may ignore signals, as `nohup` does; a terminal's shell does not.
    let mut script = Command::new("env");
    script.args(["--default-signal=HUP,INT", "script", "-q", "-f", "-c", &line, "/dev/null"]);
    script.env("SHELL", "/bin/sh").env("TERM", "xterm");
    script.env("RESEED_TEST_UNDONE", traces.path("undone")).env("RESEED_STATE_DIR", traces.path("state"));
    (script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap(), traces)
}

/// Reads what the terminal shows until it holds `wanted`.
fn await_shown(script: &mut Child, wanted: &str) -> BufReader<std::process::ChildStdout> {
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let read = shown.fill_buf().unwrap().to_vec();
        assert!(!read.is_empty(), "the end came before `{wanted}`");
        shown.consume(read.len());
        text.extend(read);
    }
    shown
}

pub(crate) fn lost() {
    let (mut script, traces) = in_terminal(&["work", "wait"]);
    let shown = await_shown(&mut script, "waiting now");
    // The terminal goes with the one that holds its other end.
    script.kill().unwrap();
    script.wait().unwrap();
    drop(shown);
    assert_eq!(traces.soon("code"), "130");
    assert_eq!(traces.soon("undone"), "work");
}

pub(crate) fn interrupted() {
    let (mut script, traces) = in_terminal(&["work", "child"]);
    let mut shown = await_shown(&mut script, "waiting now");
    script.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let mut rest = Vec::new();
    // The terminal may be gone before its last words were read.
    let _ = shown.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest);
    script.wait().unwrap();
    assert_eq!(traces.soon("code"), "130", "{rest}");
    assert_eq!(traces.soon("undone"), "work", "{rest}");
    assert!(rest.contains("stage test-act: cancelled") && rest.contains("cancelled: test"), "{rest}");
}

pub(crate) fn deaf() {
    let (mut child, _file) = start("run", &["work", "wait"], &["--json"]);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    await_line(&mut err, "waiting now");
    drop((err, child.stdout.take()));
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]
pub(crate) fn nohup() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "name = \"test\"\n[[stage]]\nuse = \"test-act\"\nact = \"wait\"\n").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap '' HUP; exec "$0" as-reseed run "$1""#]).arg(std::env::current_exe().unwrap());
    shell.arg(&file).env("RESEED_STATE_DIR", directory.path().join("state"));
    let mut child = shell.stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    await_line(&mut err, "waiting now");
    send(&child, Signal::HUP);
    send(&child, Signal::TERM);
    await_line(&mut err, "cancelled: test");
    // Two signals would have stopped the undo.
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
