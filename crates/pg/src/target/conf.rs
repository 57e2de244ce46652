//! PostgreSQL's configuration files: one `name = 'value'` a line, the last line of a name counts
//! (`src/backend/utils/misc/guc-file.l`).

use std::borrow::Cow;
use std::fmt;

use reseed_core::Result;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// Settings in order.
pub(crate) type Settings = Vec<(String, String)>;

/// The value of a setting, as text. In a pipeline file it may be a string, a number or a boolean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }
            fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
                Ok(Value(if on { "on" } else { "off" }.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A value in quotes, as every setting takes it.
pub(crate) fn quote(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('\'', "''").replace('\n', r"\n").replace('\r', r"\r");
    format!("'{escaped}'")
}

/// Whether this can be the name of a setting, with or without an extension's name in front.
pub(crate) fn is_name(name: &str) -> bool {
    let word = |word: &str| {
        !word.starts_with(|c: char| c.is_ascii_digit() || c == '$')
            && !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    };
    name.split('.').all(word)
}

/// The setting that a line sets, in lower case, and the text after its name.
fn setting(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    let end = line.find(|c: char| c.is_whitespace() || c == '=' || c == '#' || c == '\'').unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    is_name(name).then(|| (name.to_ascii_lowercase(), rest))
}

/// The text without the lines that set what `unwanted` names.
pub(crate) fn without(text: &str, unwanted: impl Fn(&str) -> bool) -> String {
    let kept = text.lines().filter(|line| !setting(line).is_some_and(|(name, _)| unwanted(&name)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// One line for each setting.
pub(crate) fn lines(settings: &Settings) -> String {
    settings.iter().map(|(name, value)| format!("{name} = {}\n", quote(value))).collect()
}

/// The value that a file gives to a setting.
pub(crate) fn value_of(text: &str, wanted: &str) -> Option<String> {
    let settings = text.lines().filter_map(setting);
    let (_, rest) = settings.rev().find(|(name, _)| name == wanted)?;
    Some(unquote(rest.trim_start().trim_start_matches('=').trim()))
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('\'') else {
        return text.split([' ', '\t', '#']).next().unwrap_or_default().to_owned();
    };
    let mut value = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.push(match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            }),
            '\'' if chars.peek() == Some(&'\'') => value.extend(chars.next()),
            '\'' => break,
            c => value.push(c),
        }
    }
    value
}

/// Settings of a copy that belonged to the server that it was copied from, or to the recovery that
/// made that one: where they came from, how far they recovered, and what ended that.
fn of_an_earlier_life(name: &str) -> bool {
    name.starts_with("recovery_target")
        || name.starts_with("primary_")
        || matches!(name, "restore_command" | "promote_trigger_file" | "trigger_file" | "standby_mode")
}

/// `postgresql.auto.conf` of a copy: what was there without an earlier life, and `settings`.
pub(crate) fn auto_conf(copied: &str, settings: &Settings) -> String {
    let set = |name: &str| settings.iter().any(|(ours, _)| ours.eq_ignore_ascii_case(name));
    without(copied, |name| of_an_earlier_life(name) || set(name)) + &lines(settings)
}

/// Whether a setting belongs into `recovery.conf` before PostgreSQL 12.
pub(crate) fn of_recovery(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "restore_command",
        "archive_cleanup_command",
        "recovery_end_command",
        "recovery_min_apply_delay",
        "trigger_file",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) || of_an_earlier_life(&name.to_ascii_lowercase())
}

/// `recovery.conf` of a standby before PostgreSQL 12, which follows the newest timeline.
pub(crate) fn recovery_conf(settings: &Settings) -> String {
    let fixed = [("standby_mode", "on"), ("recovery_target_timeline", "latest")];
    let fixed: Settings = fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    lines(&fixed) + &lines(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_an_earlier_life_left_is_gone_and_the_rest_stays() {
        let copied = "# Do not edit this file manually!\n\
                      # It will be overwritten by the ALTER SYSTEM command.\n\
                      work_mem = '64MB'\n\
                      recovery_target_lsn = '0/3000000'\n\
                      Recovery_Target_Action='promote'\n  primary_conninfo 'host=x'\n\
                      primary_slot_name='s'\nrestore_command = 'cp /a/%f %p'\npromote_trigger_file = '/tmp/t'\n\
                      PORT = '5432'\nmy_ext.port = '1'\n";
        let wanted = "# Do not edit this file manually!\n\
                      # It will be overwritten by the ALTER SYSTEM command.\n\
                      work_mem = '64MB'\n\
                      my_ext.port = '1'\n\
                      port = '5433'\n\
                      primary_conninfo = 'host=a password=''x\\\\y'''\n";
        let ours = settings(&[("port", "5433"), ("primary_conninfo", r"host=a password='x\y'")]);
        assert_eq!(auto_conf(copied, &ours), wanted);
        assert_eq!(auto_conf(wanted, &ours), wanted, "done twice it is the same");
    }

    #[test]
    fn a_value_comes_back_as_it_was_quoted() {
        for value in ["", "on", "it's", r"a\b", "two\nlines", "host=a password='x''y'"] {
            assert_eq!(value_of(&lines(&settings(&[("x", value)])), "x").as_deref(), Some(value), "{value}");
        }
        assert_eq!(value_of("port=5432# the usual\n#port = 1\nPort 5433", "port").as_deref(), Some("5433"));
        assert_eq!(value_of("ports = 1", "port"), None);
    }

    #[test]
    fn recovery_conf_is_that_of_a_standby() {
        let text = recovery_conf(&settings(&[("primary_conninfo", "host=a"), ("primary_slot_name", "s")]));
        assert_eq!(
            text,
            "standby_mode = 'on'\nrecovery_target_timeline = 'latest'\nprimary_conninfo = 'host=a'\n\
             primary_slot_name = 's'\n"
        );
        assert!(of_recovery("Restore_Command") && of_recovery("primary_conninfo") && !of_recovery("hot_standby"));
    }

    #[test]
    fn names_are_those_of_settings() {
        assert!(is_name("work_mem") && is_name("pg_stat_statements.max"));
        assert!(!is_name("a b") && !is_name("") && !is_name("x=") && !is_name("1a") && !is_name("a."));
    }
}
