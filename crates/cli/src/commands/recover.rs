//! `reseed recover`.

use std::sync::Arc;

use reseed_core::event::Observer;
use reseed_core::journal::{self, Entry, Journal, Recovery, StateDirectory};
use reseed_core::report::Outcome;
use reseed_core::{Class, Error, Result};
use tokio_util::sync::CancellationToken;

use super::on_runtime;
use crate::args::RecoverArgs;
use crate::observe::{Roles, Speaker, Watch};
use crate::signals::Signals;
use crate::{exit, human, out};

pub(crate) fn run(args: &RecoverArgs) -> u8 {
    if let Some(file) = &args.scan {
        return super::scan::recover(file, args);
    }
    let state = match StateDirectory::standard() {
        Ok(state) => state,
        Err(error) => return told(&error),
    };
    for run in args.runs.iter().chain(&args.forget) {
        match state.knows(run) {
            Ok(true) => {}
            Ok(false) => return super::unknown(run, &state),
            Err(error) => return told(&error),
        }
    }
    match &args.forget {
        Some(run) => forget(&state, run).unwrap_or_else(|error| told(&error)),
        None => on_runtime(go(state, args)),
    }
}

fn told(error: &Error) -> u8 {
    out::error(&error.chain(), error.hint_text());
    if error.class() == Class::Refused { exit::REFUSED } else { exit::FAILED }
}

/// Believes a person that nothing is left of a run.
fn forget(state: &StateDirectory, run: &str) -> Result<u8> {
    let dead = state.dead_run(run)?;
    let left = dead.story.left().len();
    dead.journal.write(&Entry::Forgotten)?;
    let ended = journal::Ended { outcome: Outcome::Undone, exit_code: exit::DONE, report: None };
    dead.journal.write(&Entry::Ended(ended))?;
    out::talk(&format!("{run}: {} forgotten", human::count(left, "undo")));
    Ok(exit::DONE)
}

async fn go(state: StateDirectory, args: &RecoverArgs) -> u8 {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return told(&error.into()),
    };
    let watch = Watch::begin(args.talk, Roles::default());
    let (speaker, stop) = (watch.speaker(), CancellationToken::new());
    let recovering = recover(&state, &args.runs, &speaker, &stop);
    let recovered = tokio::select! {
        recovered = recovering => recovered,
        never = signals.give_up(&stop, &speaker) => match never {},
    };
    if let Ok((_, damaged)) = &recovered {
        damaged.iter().for_each(|error| super::warn(&speaker, error));
    }
    watch.end();
    match recovered {
        Ok((all, damaged)) => {
            if all.is_empty() && damaged.is_empty() && !args.talk.quiet {
                out::talk("no run has died");
            }
            all.into_iter().map(ended).max().unwrap_or(exit::DONE).max(if damaged.is_empty() { 0 } else { exit::STUCK })
        }
        Err(error) => told(&error),
    }
}

/// The exit code of one run; tells why it could not be written down how it ended.
fn ended(end: Result<Recovery>) -> u8 {
    match end {
        Ok(recovery) if recovery.outcome == Outcome::Stuck => exit::STUCK,
        Ok(_) => exit::DONE,
        Err(error) => told(&error),
    }
}

async fn recover(
    state: &StateDirectory,
    runs: &[String],
    speaker: &Speaker,
    stop: &CancellationToken,
) -> Result<(Vec<Result<Recovery>>, Vec<Error>)> {
    let observer: Arc<dyn Observer> = Arc::new(speaker.clone());
    if runs.is_empty() {
        let swept = state.recover(|_| true, &observer, stop).await?;
        let damaged = swept.damaged.into_iter().map(|damaged| damaged.error);
        return Ok((swept.taken.into_iter().map(|taken| taken.end).collect(), damaged.collect()));
    }
    let (mut all, mut damaged, mut refused) = (Vec::new(), Vec::new(), None);
    for run in runs {
        match state.dead_run(run) {
            Ok(dead) if dead.story.is_open() => all.push(journal::recover(dead, &observer, stop).await),
            Ok(_) => {}
            Err(error) if error.class() == Class::Refused => refused = refused.or(Some(error)),
            Err(error) => damaged.push(error),
        }
    }
    match refused {
        Some(error) if all.is_empty() && damaged.is_empty() => return Err(error),
        // What became of the others must be told too.
        error => damaged.extend(error),
    }
    Ok((all, damaged))
}
