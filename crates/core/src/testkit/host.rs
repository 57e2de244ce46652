//! What every host promises.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::comes_true;
use crate::Result;
use crate::host::{Command, Host, Job};

/// What a shell, or two of them, would change.
const ARGUMENTS: [&str; 14] = [
    "",
    " ",
    "two words",
    "it's",
    "\"quoted\"",
    "$HOME",
    "`id`",
    "$(id)",
    "*",
    "back\\slash",
    "a;b|c&d>e<f",
    "-n",
    "line\nbreak\ttab\n",
    "grün 🦀 %s",
];

/// All of the contract but for [`reconnects`], which needs someone who breaks the connection.
///
/// # Panics
/// With what is not held.
pub async fn holds_as_a_host(host: &dyn Host) {
    arguments_arrive_as_they_are(host).await;
    bytes_arrive_as_they_are(host).await;
    every_exit_status_is_told(host).await;
    dropped_processes_end(host).await;
}

/// Arguments reach the program byte for byte.
pub async fn arguments_arrive_as_they_are(host: &dyn Host) {
    let command = Command::script(r#"printf '%s\001' "$@""#).args(ARGUMENTS);
    let text = run(host, command).await;
    let arrived: Vec<_> = text.strip_suffix('\u{1}').unwrap_or(&text).split('\u{1}').collect();
    assert_eq!(arrived, ARGUMENTS, "{}: arguments came changed", host.name());
}

/// A job's input and output are what they are, whatever bytes they hold and however many.
pub async fn bytes_arrive_as_they_are(host: &dyn Host) {
    let input: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let job = Job::pipe(vec![Command::new("cat"), Command::new("cat")]);
    let output =
        host.output_with(job, &input).await.unwrap_or_else(|error| panic!("{}: {}", host.name(), error.chain()));
    assert!(output.stdout == input, "{}: {} bytes came, not the right ones", host.name(), output.stdout.len());
    assert!(output.exit.success(), "{}: {:?}", host.name(), output.exit);
}

/// The exit status of each command of a job is told, with what it said; so is an end by a signal.
pub async fn every_exit_status_is_told(host: &dyn Host) {
    let exits = |status: &str, said: &str| {
        Command::script(r#"cat >/dev/null; printf %s "$2" >&2; exit "$1""#).arg(status).arg(said)
    };
    let job = Job::pipe(vec![exits("0", ""), exits("3", "three"), exits("255", "")]);
    let exit = host.output(job).await.unwrap_or_else(|error| panic!("{}: {}", host.name(), error.chain())).exit;
    let told: Vec<_> = exit.steps.iter().map(|step| step.status).collect();
    assert_eq!(told, [Some(0), Some(3), Some(255)], "{}: {exit:?}", host.name());
    assert!(exit.stderr().contains("three"), "{}: {exit:?}", host.name());
    let killed = host.output(Command::script("kill -9 $$")).await;
    assert!(
        killed.is_err() || killed.is_ok_and(|output| !output.exit.success()),
        "{}: SIGKILL is no success",
        host.name()
    );
    let missing = host.output(Command::new("reseed-testkit-no-such-program")).await;
    let failed = missing.is_err() || missing.is_ok_and(|output| !output.exit.success());
    assert!(failed, "{}: a program that is not there is no success", host.name());
}

/// A process whose handle is dropped is ended: at once, or, on another machine, when it next reads or
/// writes.
pub async fn dropped_processes_end(host: &dyn Host) {
    let waiting = Command::script("echo $$; exec cat");
    let mut process = host.spawn(&waiting.into()).await.expect("it starts");
    let stdout = process.stdout.as_mut().expect("it has an output");
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stdout.read_u8().await.expect("it says its pid"));
    }
    if let Some(stdin) = process.stdin.as_mut() {
        stdin.write_all(b"x").await.expect("it reads");
    }
    drop(process);
    let pid = String::from_utf8_lossy(&line).trim().to_owned();
    // A process that is only waiting to be reaped has ended.
    let script = r#"kill -0 "$1" 2>/dev/null && ! ps -o stat= -p "$1" | grep -q Z"#;
    let ended = comes_true(async || {
        let alive = host.output(Command::script(script).arg(&pid)).await;
        alive.is_ok_and(|output| !output.exit.success())
    });
    assert!(ended.await, "{}: process {pid} outlived its handle", host.name());
}

/// After its connection broke, the next call makes a new one.
pub async fn reconnects(host: &dyn Host, break_it: impl AsyncFnOnce()) {
    assert_eq!(run(host, Command::new("echo").arg("before")).await.trim(), "before");
    break_it().await;
    let said: Result<String> = host.run(Command::new("echo").arg("after")).await;
    match said {
        Ok(said) => assert_eq!(said.trim(), "after"),
        Err(error) => panic!("{}: was not reached again: {}", host.name(), error.chain()),
    }
}

async fn run(host: &dyn Host, command: Command) -> String {
    host.run(command).await.unwrap_or_else(|error| panic!("{}: {}", host.name(), error.chain()))
}
