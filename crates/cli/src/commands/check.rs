//! `reseed check`.

use std::sync::Arc;

use reseed_core::Class;
use reseed_core::config::Loaded;
use reseed_core::engine::Engine;
use reseed_core::event::Event;
use serde_json::json;

use super::on_runtime;
use super::plan::survey::Notes;
use crate::args::{RunArgs, TalkArgs};
use crate::human::count;
use crate::{exit, file, out, signals};

pub(crate) fn run(args: &RunArgs) -> u8 {
    match file::load(&args.file, args.talk.json) {
        Ok(loaded) => on_runtime(go(loaded, args.talk)),
        Err(code) => code,
    }
}

async fn go(loaded: Loaded, talk: TalkArgs) -> u8 {
    let notes = Arc::new(Notes::default());
    let name = loaded.pipeline.name().to_owned();
    let engine = Engine::new(loaded.pipeline).observe(notes.clone());
    let errors = signals::check(&engine).await.err().unwrap_or_default();
    let cancelled = errors.iter().any(|error| error.class() == Class::Cancelled);
    let events = notes.all();
    if talk.json {
        let findings: Vec<_> = events.iter().map(|event| json!(event)).collect();
        out::data(&format!("{}\n", json!({ "pipeline": name, "ok": errors.is_empty(), "findings": findings })));
    }
    if cancelled {
        out::talk("cancelled; nothing was touched");
        return exit::CANCELLED;
    }
    tell(&name, &events, talk, errors.len());
    match errors.is_empty() {
        true => exit::DONE,
        false => exit::REFUSED,
    }
}

fn tell(name: &str, events: &[Event], talk: TalkArgs, refused: usize) {
    for event in events {
        match event {
            Event::Note { stage, text, .. } if !talk.quiet => out::talk(&format!("  {stage}: {text}")),
            Event::Warning { stage: Some(stage), text } => out::talk(&format!("warning: {stage}: {text}")),
            Event::Warning { stage: None, text } => out::talk(&format!("warning: {text}")),
            Event::Refused { stage, error, hint, .. } => {
                out::talk(&format!("refused: {stage}: {error}"));
                hint.iter().for_each(|hint| out::talk(&format!("  hint: {hint}")));
            }
            _ => {}
        }
    }
    match refused {
        0 if talk.quiet => {}
        0 => out::talk(&format!("{name} could run now")),
        _ => out::talk(&format!("{name} would be refused: {}", count(refused, "reason"))),
    }
}
