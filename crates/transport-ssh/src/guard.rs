//! The guard of a key: `reseed guard` as the forced command of sshd.
//!
//! sshd starts it in the place of whatever a client asks for, and tells what that was in
//! `SSH_ORIGINAL_COMMAND`. The guard takes this text apart itself: it must be, byte for byte, what the
//! SSH host of reseed makes of some commands. Each of these is judged by the rules that were granted
//! (see [`reseed_core::guard`]). Then the guard becomes the job: no shell ever reads the text.
//!
//! Everything else is refused: it is logged, and told to the client as the exit status
//! [`REFUSED`] of each command.

mod log;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use reseed_core::guard::Guard;
use reseed_core::host::shell_quote;
use reseed_core::names::in_one_line;

use crate::host::marker::{BEGUN, Nonce};
use crate::host::remote::{Call, command, is_gone};
use log::{Level, Log};

/// The exit status of what was refused: "found and not to be executed".
pub const REFUSED: u8 = 126;
/// The exit status of a guard that is called wrongly.
pub const WRONG: u8 = 2;

/// Letters of what was asked for that a line of a log takes.
const LINE: usize = 800;

/// Variables that a job gets. What a client can set by way of sshd (`AcceptEnv`) is not among them.
const KEPT: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ"];

/// What a guard is told by its line in `authorized_keys`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What is granted, each `RULE` or `RULE=OBJECT`.
    pub grants: Vec<String>,
    /// A file to which every decision is added, besides the system's log.
    pub log: Option<PathBuf>,
}

/// Judges what sshd was asked for (`SSH_ORIGINAL_COMMAND`) and becomes it, or gives the exit status.
pub fn main(settings: &Settings, asked: Option<OsString>) -> u8 {
    let log = Log::new(settings.log.clone());
    let guard = match Guard::new(settings.grants.iter().map(String::as_str)) {
        Ok(guard) => guard,
        Err(why) => return wrong(&log, &why),
    };
    match judge(&guard, asked) {
        Ok(call) => become_job(&call, &log),
        Err(refusal) => refuse(&refusal, &log),
    }
}

/// What a guard of these grants would do with a text: the commands that it would let run. Runs nothing.
///
/// # Errors
/// Why it would refuse, or what is wrong with a grant.
pub fn decide(grants: &[&str], asked: &str) -> Result<Vec<Vec<String>>, String> {
    let guard = Guard::new(grants.iter().copied())?;
    judge(&guard, Some(asked.into())).map(|call| call.argvs).map_err(|refusal| refusal.why)
}

/// The text that the SSH host makes of a job of these commands.
pub fn asked_for(argvs: &[Vec<String>]) -> String {
    command(&Nonce::new(), argvs)
}

/// What may not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    /// The job, where it was one.
    call: Option<Call>,
    why: String,
}

/// Takes a text apart and judges each of its commands.
fn judge(guard: &Guard, asked: Option<OsString>) -> Result<Call, Refusal> {
    let refused = |why: &str| Refusal { call: None, why: why.to_owned() };
    let asked = asked.ok_or_else(|| refused("this key is for reseed alone: it opens no shell"))?;
    let asked = asked.into_string().map_err(|_| refused("what was asked for is not text"))?;
    let call = Call::parse(&asked);
    let call = call.ok_or_else(|| refused(&format!("this is no command of reseed: {}", in_one_line(&asked, LINE))))?;
    for argv in &call.argvs {
        if is_gone(&argv.iter().map(String::as_str).collect::<Vec<_>>()) {
            continue;
        }
        if let Err(why) = guard.judge(argv) {
            return Err(Refusal { call: Some(call), why });
        }
    }
    Ok(call)
}

/// Gives this process to the job; comes back only where that fails.
#[expect(clippy::disallowed_methods, reason = "the guard is the far side of a host, and becomes what it let in")]
fn become_job(call: &Call, log: &Log) -> u8 {
    log.write(Level::Info, &format!("allowed: {}", shown(call)));
    let argv = call.argv();
    let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let error = std::process::Command::new(&argv[0]).args(&argv[1..]).env_clear().envs(kept).exec();
    let refusal = Refusal { call: Some(call.clone()), why: format!("can't start `{}`: {error}", argv[0]) };
    refuse(&refusal, log)
}

/// Tells the log and the client.
fn refuse(refusal: &Refusal, log: &Log) -> u8 {
    log.write(Level::Warning, &format!("refused: {}", refusal.why));
    tell(&told(refusal));
    REFUSED
}

/// What a client of reseed hears: the reason, among the statuses that it waits for.
fn told(refusal: &Refusal) -> String {
    let why = format!("reseed guard: {}\n", refusal.why);
    let Some(Call { nonce, argvs }) = &refusal.call else { return why };
    let statuses = (0..argvs.len()).map(|index| format!("{nonce}:{index}:{REFUSED}\n"));
    format!("{nonce}:{BEGUN}\n{why}{}", statuses.collect::<String>())
}

fn wrong(log: &Log, why: &str) -> u8 {
    log.write(Level::Warning, &format!("called wrongly: {why}"));
    tell(&format!("reseed guard: {why}\n"));
    WRONG
}

fn tell(text: &str) {
    // Nobody is there to hear that nobody is there to hear.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A job as a log shows it.
fn shown(call: &Call) -> String {
    let step = |argv: &Vec<String>| argv.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ");
    in_one_line(&call.argvs.iter().map(step).collect::<Vec<_>>().join(" | "), LINE)
}

#[cfg(test)]
mod tests;
