//! `reseed status`.

use reseed_core::journal::{Found, StageState, StateDirectory, Story};
use reseed_core::report::Outcome;
use serde_json::{Value, json};

use crate::args::StatusArgs;
use crate::{exit, human, out};

pub(crate) fn run(args: &StatusArgs) -> u8 {
    if let Some(file) = &args.scan {
        return super::scan::status(file, args);
    }
    let found = StateDirectory::standard().and_then(|state| Ok((state.found()?, state)));
    match (found, &args.run) {
        (Ok((found, state)), Some(run)) if found.iter().all(|one| id(one) != *run) => super::unknown(run, &state),
        (Ok((mut found, _)), run) => {
            found.retain(|one| run.as_ref().is_none_or(|run| id(one) == *run));
            if found.is_empty() && !args.json {
                out::talk("there are no runs");
            }
            for one in &found {
                match args.json {
                    true => out::data(&format!("{}\n", json_of(one))),
                    false => out::data(&lines(one, args.run.is_some()).join("\n")),
                }
            }
            if found.iter().any(is_left) { exit::STUCK } else { exit::DONE }
        }
        (Err(error), _) => {
            out::error(&error.chain(), error.hint_text());
            exit::FAILED
        }
    }
}

fn id(found: &Found) -> String {
    found.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether somebody has to see to it.
fn is_left(found: &Found) -> bool {
    !found.live && found.story.as_ref().map_or(true, Story::is_open)
}

/// One word on how a run is.
fn state(story: &Story, live: bool) -> &'static str {
    match &story.ended {
        _ if live && story.ended.is_none() => "running",
        None => "died",
        Some(_) if !story.left().is_empty() => "stuck",
        Some(ended) => match (ended.outcome, ended.exit_code) {
            (Outcome::Done, _) => "done",
            (Outcome::Stuck, _) => "stuck",
            (Outcome::Undone, exit::REFUSED) => "refused",
            (Outcome::Undone, exit::CANCELLED) => "cancelled",
            (Outcome::Undone, _) => "undone",
        },
    }
}

/// What the run's own report says under this name; null where another process ended it.
fn reported<'a>(story: &'a Story, name: &str) -> &'a Value {
    let report = story.ended.as_ref().and_then(|ended| ended.report.as_ref());
    report.and_then(|report| report.get(name)).unwrap_or(&Value::Null)
}

fn json_of(found: &Found) -> Value {
    let story = match &found.story {
        Ok(story) => story,
        Err(error) => return json!({ "run": id(found), "state": "damaged", "error": error.chain() }),
    };
    let stages = story.stages.iter().map(|stage| {
        json!({
            "stage": stage.stage, "state": stage.state, "begun": stage.at.to_string(), "seconds": stage.seconds,
            "error": stage.error,
        })
    });
    let left = story.left().into_iter();
    let left = left.map(|left| json!({ "undo": left.undo.does, "by_hand": left.undo.by_hand, "error": left.error }));
    json!({
        "run": story.begin.run,
        "pipeline": story.begin.pipeline,
        "state": state(story, found.live),
        "begun": story.at.to_string(),
        "seconds": story.until.duration_since(story.at).as_secs_f64(),
        "owner": story.begin.owner,
        "file": story.begin.path,
        "downtime_seconds": reported(story, "downtime_seconds"),
        "stream_bytes": reported(story, "stream_bytes"),
        "wire_bytes": reported(story, "wire_bytes"),
        "error": reported(story, "error"),
        "stages": stages.collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
    })
}

/// What is said of a run; `whole` says to tell its stages too.
fn lines(found: &Found, whole: bool) -> Vec<String> {
    let story = match &found.story {
        Ok(story) => story,
        Err(error) => {
            let hint = error.hint_text().map(|hint| format!("  hint: {hint}"));
            let first = format!("{}  damaged  {}", id(found), error.chain());
            return std::iter::once(first).chain(hint).chain([String::new()]).collect();
        }
    };
    let mut lines = vec![headline(story, found.live)];
    if whole {
        lines.extend(story.stages.iter().map(|stage| {
            let took = match (stage.state, stage.seconds) {
                (StageState::Finished, Some(seconds)) => human::seconds(seconds),
                (StageState::Failed, _) => format!("failed: {}", stage.error.as_deref().unwrap_or_default()),
                _ => "not at its end".to_owned(),
            };
            format!("    {}  {took}", stage.stage)
        }));
    }
    if let Some(error) = reported(story, "error").as_str() {
        lines.push(format!("    {error}"));
    }
    if !found.live {
        for left in story.left() {
            lines.push(format!("    left: {}", left.undo.does));
            lines.extend(left.error.map(|error| format!("      {error}")));
            lines.push(format!("      by hand: {}", left.undo.by_hand));
        }
        if story.is_open() {
            lines.push("    hint: reseed recover".to_owned());
        }
    }
    lines.push(String::new());
    lines
}

fn headline(story: &Story, live: bool) -> String {
    let state = state(story, live);
    let took = human::seconds(story.until.duration_since(story.at).as_secs_f64());
    let mut line = format!("{}  {}  {state}", story.begin.run, story.begin.pipeline);
    match story.stages.iter().rev().find(|stage| stage.state == StageState::Started) {
        Some(stage) if story.ended.is_none() => line.push_str(&format!(" in {}", stage.stage)),
        _ => {}
    }
    match live {
        true => line.push_str(&format!(", {}", story.begin.owner)),
        false => line.push_str(&format!(" after {took}")),
    }
    if let Some(down) = reported(story, "downtime_seconds").as_f64() {
        line.push_str(&format!(", down for {}", human::seconds(down)));
    }
    if let Some(bytes) = reported(story, "stream_bytes").as_u64().filter(|bytes| *bytes > 0) {
        line.push_str(&format!(", {} sent", human::bytes(bytes)));
    }
    line
}
