//! JSON Schema of a pipeline file, for editors, from all registered plugins.

use serde_json::{Map, Value, json};

use super::limits::{approach_schema, stall_schema, timeout_schema};
use crate::registry::{self, ResourcePlugin};

/// JSON Schema (draft 2020-12) of a pipeline file with every registered stage and resource.
pub fn pipeline_schema() -> Value {
    let mut properties = Map::new();
    properties.insert("name".into(), json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }));
    properties.insert("stall".into(), stall_schema());
    properties.insert("approach".into(), approach_schema());
    let history = "How long the journals of runs are kept: `90d` by default. See `reseed status`.";
    properties.insert("history".into(), json!({ "type": "string", "default": "90d", "description": history }));
    let stages: Vec<_> =
        registry::stages().iter().map(|plugin| with_timeout(picked(&(plugin.schema)(), Some(plugin.name)))).collect();
    properties.insert("stage".into(), json!({ "type": "array", "items": { "oneOf": stages } }));
    for (table, plugins) in tables() {
        let choices: Vec<_> = plugins.iter().map(|plugin| picked(&(plugin.schema)(), plugin.use_)).collect();
        properties.insert(table.into(), json!({ "type": "object", "additionalProperties": { "oneOf": choices } }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "reseed pipeline",
        "type": "object",
        "required": ["name", "stage"],
        "additionalProperties": false,
        "properties": properties,
    })
}

fn tables() -> Vec<(&'static str, Vec<&'static ResourcePlugin>)> {
    let mut tables: Vec<(&'static str, Vec<_>)> = Vec::new();
    for plugin in registry::resources() {
        match tables.last_mut() {
            Some((table, plugins)) if *table == plugin.table => plugins.push(plugin),
            _ => tables.push((plugin.table, vec![plugin])),
        }
    }
    tables
}

/// A stage's schema with the limit that each can have.
fn with_timeout(mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.entry("timeout").or_insert_with(timeout_schema);
    }
    schema
}

/// A plugin's schema with the `use` that picks it.
fn picked(schema: &schemars::Schema, use_: Option<&str>) -> Value {
    let mut schema = schema.as_value().clone();
    let Some(object) = schema.as_object_mut() else { return schema };
    object.remove("$schema");
    let Some(use_) = use_ else { return schema };
    object.insert("title".into(), json!(use_));
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("use".into(), json!({ "const": use_ }));
    }
    let required = object.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, json!("use"));
    }
    schema
}
