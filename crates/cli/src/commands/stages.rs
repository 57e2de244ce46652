//! `reseed stages`.

use serde_json::json;

use crate::args::StagesArgs;
use crate::reference::{self, Entry};
use crate::{exit, human, out};

pub(crate) fn run(args: &StagesArgs) -> u8 {
    if args.markdown {
        out::data(&reference::stages_markdown());
        return exit::DONE;
    }
    let all = reference::entries();
    let wanted: Vec<_> = match &args.name {
        Some(name) => all.iter().filter(|entry| entry.is_called(name)).collect(),
        None => all.iter().collect(),
    };
    match &args.name {
        Some(name) if wanted.is_empty() => return unknown(name, &all),
        _ if args.json => out::data(&format!("{:#}\n", json(&wanted))),
        Some(_) => out::data(&wanted.iter().map(|entry| entry.text()).collect::<Vec<_>>().join("\n")),
        None => out::data(&table(&wanted)),
    }
    exit::DONE
}

fn table(entries: &[&Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let row = |entry: &&Entry| {
        let summary = human::indented(&entry.summary(), width + 2);
        format!("{:<width$}  {}\n", entry.name, summary.trim_start())
    };
    entries.iter().map(row).collect()
}

fn json(entries: &[&Entry]) -> serde_json::Value {
    let one = |entry: &&Entry| json!({ "name": entry.name, "summary": entry.summary(), "doc": entry.doc, "schema": entry.schema });
    let of =
        |resource: bool| entries.iter().filter(|entry| entry.is_resource() == resource).map(one).collect::<Vec<_>>();
    json!({ "stages": of(false), "resources": of(true) })
}

fn unknown(name: &str, all: &[Entry]) -> u8 {
    let known: Vec<_> = all.iter().map(|entry| entry.name.as_str()).collect();
    let hint = format!("known here: {}", known.join(", "));
    out::error(&format!("there is no stage or resource `{name}`"), Some(&hint));
    exit::WRONG
}
