//! JSON Schema in words that someone who edits TOML understands.

use serde_json::Value;

/// What belongs into a key.
pub(super) fn in_words(schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return toml(value);
    }
    if let Some(choices) = schema["enum"].as_array() {
        return one_of(choices.iter().filter(|choice| !choice.is_null()).map(toml).collect());
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[several].as_array() {
            let some = choices.iter().filter(|choice| choice["type"] != "null");
            return one_of(some.map(in_words).collect());
        }
    }
    let names: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        name => name.as_str().into_iter().collect(),
    };
    match names[..] {
        [] => "anything".to_owned(),
        _ => one_of(names.iter().map(|name| one(name, schema)).collect()),
    }
}

/// The schema of a table with keys of its own, where that is what belongs here.
pub(super) fn table(schema: &Value) -> Option<&Value> {
    let choices = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut some = choices.iter().filter(|choice| choice["type"] != "null");
    match (some.next(), some.next()) {
        (Some(only), None) => table(only),
        _ => Some(schema).filter(|schema| schema["properties"].is_object()),
    }
}

fn one(name: &str, schema: &Value) -> String {
    match name {
        "integer" | "number" => {
            let name = if name == "integer" { "an integer" } else { "a number" };
            format!("{name}{}", range(schema))
        }
        "boolean" => "`true` or `false`".to_owned(),
        "array" => format!("a list of {}", plural(&in_words(&schema["items"]))),
        "object" => object(schema),
        "string" => match schema["examples"].as_array() {
            Some(examples) => format!("a string like {}", examples.iter().map(toml).collect::<Vec<_>>().join(", ")),
            None => "a string".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn range(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64).filter(|bound| bound.abs() < 1e9);
    match (bound("minimum").filter(|_| schema.get("maximum").is_some() || schema["minimum"] != 0), bound("maximum")) {
        (Some(low), Some(high)) => format!(" from {low} to {high}"),
        (Some(low), None) => format!(" from {low} up"),
        (None, Some(high)) => format!(" up to {high}"),
        (None, None) => String::new(),
    }
}

/// A table: with keys of its own, or with any keys.
fn object(schema: &Value) -> String {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else {
        return match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("a table in which each value is {}", in_words(values)),
            _ => "a table".to_owned(),
        };
    };
    let one = |(name, value): (&String, &Value)| match (required.contains(&name.as_str()), value.get("const")) {
        (_, Some(value)) => format!("{name} = {}", bare(value)),
        (true, None) => format!("{name} = …"),
        (false, None) => format!("[{name} = …]"),
    };
    format!("`{{ {} }}`", properties.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn one_of(mut choices: Vec<String>) -> String {
    choices.dedup();
    match choices.len() {
        0 => "nothing".to_owned(),
        1 => choices.remove(0),
        2 => choices.join(" or "),
        _ => {
            let last = choices.pop().unwrap_or_default();
            format!("{} or {last}", choices.join(", "))
        }
    }
}

fn plural(thing: &str) -> String {
    match thing {
        "a string" => "strings".to_owned(),
        "an integer" => "integers".to_owned(),
        "a number" => "numbers".to_owned(),
        "anything" => "values".to_owned(),
        other => match other.strip_prefix("a string like ") {
            Some(examples) => format!("strings like {examples}"),
            None => other.to_owned(),
        },
    }
}

/// A value as it is written in the file, marked as code.
pub(super) fn toml(value: &Value) -> String {
    format!("`{}`", bare(value))
}

fn bare(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(bare).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(key, value)| format!("{key} = {}", bare(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_reads_as_words() {
        let told = [
            json!({ "type": "integer", "minimum": 1, "maximum": 19 }),
            json!({ "type": ["integer", "null"], "format": "uint16", "minimum": 0, "maximum": 65535 }),
            json!({ "type": "integer", "format": "uint32", "minimum": 0 }),
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "object", "additionalProperties": { "type": ["string", "integer"] } }),
            json!({ "anyOf": [{ "enum": ["sudo", "doas"] }, { "type": "null" }] }),
            json!({ "type": "object", "properties": { "use": { "const": "x" }, "y": {}, "z": {} }, "required": ["z"] }),
        ]
        .map(|schema| in_words(&schema));
        assert_eq!(
            told,
            [
                "an integer from 1 to 19",
                "an integer from 0 to 65535",
                "an integer",
                "a list of strings",
                "a table in which each value is a string or an integer",
                "`\"sudo\"` or `\"doas\"`",
                "`{ use = \"x\", [y = …], z = … }`",
            ]
        );
    }
}
