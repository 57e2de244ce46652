//! `reseed run`.

use std::sync::Arc;

use reseed_core::config::Loaded;
use reseed_core::engine::{Engine, Options};
use reseed_core::event::{Event, Observer};
use reseed_core::journal::{Reach, Recovery, StateDirectory, Story, Taken, Written};
use reseed_core::report::{Outcome, RunReport};
use reseed_core::{Class, Error, Result, run_id};
use tokio_util::sync::CancellationToken;

use super::{on_runtime, warn};
use crate::args::{RunArgs, TalkArgs};
use crate::file::Text;
use crate::observe::{Roles, Speaker, Watch};
use crate::signals::Signals;
use crate::{exit, file, out};

pub(crate) fn run(args: &RunArgs) -> u8 {
    match file::text(&args.file, args.talk.json) {
        Ok(text) => on_runtime(of(text, args.talk, Options::default())),
        Err(code) => code,
    }
}

/// Runs a pipeline that is in no file.
pub(crate) fn text(name: &str, text: &str, talk: TalkArgs) -> u8 {
    on_runtime(of(Text::new(name, text), talk, Options::default()))
}

/// Runs a pipeline that is in no file and takes everything back, however it ends.
pub(crate) async fn rehearse(name: &str, text: &str, talk: TalkArgs) -> u8 {
    let mut options = Options::default();
    options.rehearsal = true;
    of(Text::new(name, text), talk, options).await
}

async fn of(text: Text, talk: TalkArgs, options: Options) -> u8 {
    let loaded = match text.load(talk.json) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match StateDirectory::standard() {
        Ok(state) => {
            let written = Written { state, path: text.name, file: text.text, set: text.settings };
            go(loaded, written, talk, options).await
        }
        Err(error) => {
            out::error(&error.chain(), error.hint_text());
            exit::REFUSED
        }
    }
}

async fn go(loaded: Loaded, written: Written, talk: TalkArgs, options: Options) -> u8 {
    let name = loaded.pipeline.name().to_owned();
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        // Without them a Ctrl-C would leave things behind: better not to begin.
        Err(error) => {
            out::error(&format!("can't catch signals: {error}"), None);
            return exit::FAILED;
        }
    };
    let watch = Watch::begin(talk, Roles::of(&loaded));
    let speaker = watch.speaker();
    let (state, history) = (written.state.clone(), loaded.history);
    let engine = Engine::new(loaded.pipeline).options(options).observe(Arc::new(speaker.clone()));
    let engine = engine.journals(Arc::new(written));
    let report = match recover(&state, &engine.reach(), &mut signals, &speaker).await {
        Ok(()) => engine_run(engine, signals, &speaker).await,
        Err(blocked) => refusal(&name, blocked, &speaker),
    };
    if let Err(error) = state.prune(history) {
        speaker.say(&format!("warning: old journals are still there: {}", error.chain()));
    }
    watch.end();
    report.exit_code()
}

async fn engine_run(engine: Engine, signals: Signals, speaker: &Speaker) -> RunReport {
    tokio::select! {
        report = engine.run() => report,
        never = signals.steer(&engine, speaker) => match never {},
    }
}

/// Why no run begins: the error, and what is left of runs that died.
struct Blocked(Error, Vec<Recovery>);

/// Takes runs that died to their end. A signal ends that. Only what meets this run keeps it from beginning.
async fn recover(
    state: &StateDirectory,
    mine: &Reach,
    signals: &mut Signals,
    speaker: &Speaker,
) -> Result<(), Blocked> {
    let (stop, observer) = (CancellationToken::new(), Arc::new(speaker.clone()) as Arc<dyn Observer>);
    // What is stuck elsewhere is tried by `reseed recover`, and not in front of every run.
    let wanted = |story: &Story| story.ended.is_none() || Reach::of(story).meets(mine);
    let recovering = state.recover(wanted, &observer, &stop);
    let swept = tokio::select! {
        swept = recovering => swept,
        never = signals.give_up(&stop, speaker) => match never {},
    };
    let swept = swept.map_err(|error| Blocked(error.into_refusal(), vec![]))?;
    let in_the_way = |reach: &Reach| stop.is_cancelled() || reach.meets(mine);
    let mut stuck = Vec::new();
    for Taken { run, reach, end, .. } in swept.taken {
        match end {
            Ok(end) if end.outcome != Outcome::Stuck => {}
            Ok(end) if in_the_way(&reach) => stuck.push(end),
            Ok(_) => warn(speaker, &elsewhere(&run)),
            Err(error) if in_the_way(&reach) => return Err(Blocked(error.into_refusal(), stuck)),
            Err(error) => warn(speaker, &error),
        }
    }
    swept.passed.iter().for_each(|run| warn(speaker, &elsewhere(run)));
    for damaged in swept.damaged {
        match in_the_way(&damaged.reach) {
            true => return Err(Blocked(damaged.error.into_refusal(), stuck)),
            false => warn(speaker, &damaged.error),
        }
    }
    match stuck.first() {
        None if stop.is_cancelled() => Err(Blocked(Error::cancelled(), vec![])),
        None => Ok(()),
        Some(first) => {
            let error = Error::failed(format!("the run {}, which died, could not be taken back", first.run));
            Err(Blocked(error.hint("type what is left, then: reseed recover"), stuck))
        }
    }
}

/// What is said of a run that is stuck and not in the way.
fn elsewhere(run: &str) -> Error {
    Error::failed(format!("the run {run}, which died, is not taken back")).hint("reseed recover")
}

/// The report of a run that does not begin.
fn refusal(pipeline: &str, blocked: Blocked, speaker: &Speaker) -> RunReport {
    let Blocked(error, stuck) = blocked;
    let mut report = RunReport::new(run_id(), pipeline);
    report.cancelled = error.class() == Class::Cancelled;
    report.refused = stuck.is_empty() && !report.cancelled;
    report.outcome = if stuck.is_empty() { Outcome::Undone } else { Outcome::Stuck };
    report.error = Some(error.chain());
    report.hint = error.hint_text().map(str::to_owned);
    report.by_hand = stuck.into_iter().flat_map(|recovery| recovery.stuck).map(|stuck| stuck.by_hand).collect();
    if report.refused {
        let (stage, hint) = ("journal".to_owned(), report.hint.clone());
        speaker.on(&Event::Refused { index: 0, stage, error: error.chain(), hint });
    }
    speaker.on(&Event::RunFinished(Box::new(report.clone())));
    report
}
