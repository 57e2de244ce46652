//! The reference of stages, resources and commands, from their own documentation.

mod commands;
mod types;

pub use commands::commands_markdown;

use reseed_core::config::{TIMEOUT_DOC, pipeline_schema};
use reseed_core::registry;
use serde_json::Value;

use crate::human;

/// A stage or a resource as its documentation describes it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name: `zstd`, or `hosts.ssh` for a resource.
    pub name: String,
    /// What it does.
    pub doc: String,
    /// Its keys.
    pub keys: Vec<Key>,
    /// JSON Schema of its table.
    pub schema: Value,
    heading: String,
    resource: bool,
}

/// One key of a table.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What belongs there, in words.
    pub holds: String,
    /// Its default, or that it is required.
    pub default: String,
    /// What it is for.
    pub doc: String,
}

/// Everything that is registered: stages by name, then resources.
pub fn entries() -> Vec<Entry> {
    let stages = registry::stages().into_iter().map(|plugin| {
        let heading = format!("`{}`", plugin.name);
        Entry::new(plugin.name.to_owned(), heading, (plugin.schema)().to_value(), false)
    });
    let resources = registry::resources().into_iter().map(|plugin| {
        let (name, heading) = match plugin.use_ {
            Some(use_) => {
                (format!("{}.{use_}", plugin.table), format!("`[{}.NAME]` with `use = \"{use_}\"`", plugin.table))
            }
            None => (plugin.table.to_owned(), format!("`[{}.NAME]`", plugin.table)),
        };
        Entry::new(name, heading, (plugin.schema)().to_value(), true)
    });
    stages.chain(resources).collect()
}

/// The reference of all stages and resources as Markdown; `docs/reference/stages.md` holds it.
pub fn stages_markdown() -> String {
    let all = entries();
    let mut text = "<!-- Written by `make docs` from the documentation in the code; do not edit. -->\n\n\
                    # Stages and resources\n"
        .to_owned();
    text.push_str(&file());
    for (resource, title) in [(false, "Stages"), (true, "Resources")] {
        let group: Vec<_> = all.iter().filter(|entry| entry.resource == resource).collect();
        text.push_str(&format!("\n## {title}\n\n| name | what it is for |\n|---|---|\n"));
        group.iter().for_each(|entry| text.push_str(&format!("| `{}` | {} |\n", entry.name, cell(&entry.summary()))));
        group.iter().for_each(|entry| text.push_str(&entry.markdown()));
    }
    text
}

/// What stands at the top of a file, and in every stage.
fn file() -> String {
    let mut schema = pipeline_schema();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| FILE.contains(&name.as_str()));
    }
    let mut text = "\n## The file\n\n| key | holds | default | what it is for |\n|---|---|---|---|\n".to_owned();
    text.push_str(&keys(&schema).iter().map(Key::row).collect::<String>());
    text.push_str(&format!("\nEvery stage that has no `timeout` of its own takes one: {}\n", lower(TIMEOUT_DOC)));
    text
}

/// Keys at the top of a file that are neither stages nor resources.
const FILE: [&str; 4] = ["approach", "history", "name", "stall"];

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The first sentence of a schema's description.
pub fn first_sentence(schema: &Value) -> String {
    sentence(&description(schema))
}

impl Entry {
    fn new(name: String, heading: String, schema: Value, resource: bool) -> Self {
        Self { name, doc: description(&schema), keys: keys(&schema), schema, heading, resource }
    }

    /// The first sentence of what it does.
    pub fn summary(&self) -> String {
        sentence(&self.doc)
    }

    /// Whether it is a resource, not a stage.
    pub fn is_resource(&self) -> bool {
        self.resource
    }

    /// Whether `name` means it; the name of a table means each of its resources.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || (self.resource && self.name.split_once('.').is_some_and(|(table, _)| table == name))
    }

    /// The reference for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.name, human::indented(&self.doc, 2));
        for key in &self.keys {
            text.push_str(&format!("\n  {}: {}, {}\n", key.name, key.holds, key.default));
            if !key.doc.is_empty() {
                text.push_str(&format!("{}\n", human::indented(&key.doc, 6)));
            }
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n{}\n", self.heading, self.doc);
        if self.keys.is_empty() {
            return text;
        }
        text.push_str("\n| key | holds | default | what it is for |\n|---|---|---|---|\n");
        text.extend(self.keys.iter().map(Key::row));
        text
    }
}

impl Key {
    /// Its line in a table of Markdown.
    fn row(&self) -> String {
        let (holds, default, doc) = (cell(&self.holds), cell(&self.default), cell(&self.doc));
        format!("| `{}` | {holds} | {default} | {doc} |\n", self.name)
    }
}

/// The keys of a table; those of a table inside it follow it as `outer.inner`.
fn keys(schema: &Value) -> Vec<Key> {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    // What must be given comes first; the rest stays as it is declared.
    properties.sort_by_key(|(name, _)| !required.contains(&name.as_str()));
    let mut all = Vec::new();
    for (name, value) in properties {
        let inner = types::table(value).map(keys).unwrap_or_default();
        all.push(key(name, value, required.contains(&name.as_str()), !inner.is_empty()));
        all.extend(inner.into_iter().map(|key| Key { name: format!("{name}.{}", key.name), ..key }));
    }
    all
}

fn key(name: &str, schema: &Value, required: bool, is_table: bool) -> Key {
    let default = match schema.get("default") {
        _ if required => "required".to_owned(),
        None | Some(Value::Null) => "optional".to_owned(),
        Some(default) => format!("default {}", types::toml(default)),
    };
    let holds = if is_table { "a table".to_owned() } else { types::in_words(schema) };
    Key { name: name.to_owned(), holds, default, doc: description(schema) }
}

/// A description with one line for each paragraph or list item.
fn description(schema: &Value) -> String {
    let mut text = String::new();
    for line in schema["description"].as_str().unwrap_or_default().lines() {
        let line = line.trim_end();
        let item = line.trim_start().starts_with("- ");
        match text.chars().last() {
            _ if line.is_empty() => text.push_str("\n\n"),
            None | Some('\n') => text.push_str(line),
            Some(_) if item => text.push_str(&format!("\n{line}")),
            Some(_) => text.push_str(&format!(" {}", line.trim_start())),
        }
    }
    text.trim_end().to_owned()
}

fn sentence(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let end = first.find(". ").map_or(first.len(), |at| at + 1);
    first[..end].trim_end_matches('.').to_owned()
}

/// Text for a cell of a table, with the items of a list on lines of their own.
fn cell(text: &str) -> String {
    let items = text.replace("\n- ", "<br>• ");
    items.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
