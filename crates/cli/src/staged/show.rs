//! `reseed staged show`.

use reseed_transport_s3::chain::{Chain, Link};
use reseed_transport_s3::format::{Manifest, Stream};
use serde_json::{Value, json};

use super::{ShowArgs, ago, chunks, size, stored, unknown};
use crate::{exit, human, out};

pub(super) fn show(chains: &[Chain], args: &ShowArgs) -> u8 {
    let Some(link) = wanted(chains, args.name.as_deref()) else {
        return unknown(args.name.as_deref().unwrap_or("manifest"), &args.repository.url, chains);
    };
    match args.repository.json {
        true => out::data(&format!("{}\n", json(link))),
        false => out::data(&text(link)),
    }
    exit::DONE
}

fn wanted<'c>(chains: &'c [Chain], name: Option<&str>) -> Option<&'c Link> {
    let Some(name) = name else {
        return chains.iter().filter_map(Chain::newest).max_by(|one, other| one.order().cmp(&other.order()));
    };
    let named = chains.iter().find(|chain| chain.name == name).and_then(Chain::newest);
    named.or_else(|| chains.iter().flat_map(|chain| &chain.links).find(|link| link.key.as_str() == name))
}

fn json(link: &Link) -> Value {
    json!({ "object": link.key.as_str(), "sha256": link.sha256.to_string(), "manifest": link.manifest })
}

fn text(link: &Link) -> String {
    let manifest = &link.manifest;
    let kind = match &manifest.parent {
        None => "full".to_owned(),
        Some(parent) => format!("increment {} after {}", manifest.depth, parent.manifest),
    };
    let (stream, kept) = (human::bytes(size(manifest)), human::bytes(stored(manifest)));
    let mut lines = vec![
        line("manifest", link.key.as_str()),
        line("sha256", &link.sha256.to_string()),
        line("run", &manifest.run),
        line("made", &ago(manifest.created)),
        line("kind", &kind),
        line("storage", &manifest.storage),
        line("sealed", &sealed(manifest)),
        line("size", &format!("{stream}, stored as {kept} in {}", human::count(chunks(manifest).len(), "chunk"))),
    ];
    lines.extend(manifest.streams.iter().map(|stream| line("stream", &of(stream))));
    lines.extend(
        manifest.left_out.iter().map(|left| line("left out", &format!("{} ({})", left.dataset, left.mountpoint))),
    );
    lines
        .extend(manifest.files.iter().map(|file| line("file", &format!("{}, {}", file.name, human::bytes(file.size)))));
    lines.extend(facts(manifest));
    lines.concat()
}

/// Who can read it, and whether it is signed; by whom is for `--trusted` to say.
fn sealed(manifest: &Manifest) -> String {
    let recipients = manifest.streams.first().map_or(&[][..], |stream| &stream.recipients);
    let encrypted = match recipients.is_empty() {
        true => "not encrypted".to_owned(),
        false => format!("encrypted to {}", recipients.join(" and ")),
    };
    let signed = if manifest.signature.is_some() { "signed" } else { "not signed" };
    format!("{encrypted}, {signed}")
}

fn of(stream: &Stream) -> String {
    let Stream { dataset, snapshot, guid, mountpoint, .. } = stream;
    let from = stream.from_guid.as_ref().map(|from| format!(", from {from}")).unwrap_or_default();
    format!("{dataset}@{snapshot} ({mountpoint}), guid {guid}{from}")
}

/// What the stages of the run knew, each value on a line of its own.
fn facts(manifest: &Manifest) -> Vec<String> {
    let mut lines = vec![];
    if let Ok(facts) = serde_json::to_value(&manifest.facts) {
        flatten("", &facts, &mut lines);
    }
    lines
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(&below(key), value, lines)),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, lines));
        }
        Value::Null => {}
        Value::String(text) => {
            let indent = format!("\n{:12}", "");
            lines.push(line(name, &text.trim_end().escape_default().to_string().replace("\\n", &indent)));
        }
        other => lines.push(line(name, &other.to_string())),
    }
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<10}  {value}\n")
}
