//! One table of a pipeline file, read into a type with every problem at its place.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{BuildCx, Problem, near, nearest};

/// A table whose `use` has been taken off.
#[derive(Debug, Clone)]
pub struct Table<'i> {
    entries: DeTable<'i>,
    span: Range<usize>,
    /// Keys that were looked for already, and may be meant by an unknown one.
    taken: Vec<&'static str>,
}

impl<'i> Table<'i> {
    /// A table that stands at `span`, which problems of the whole table point at.
    pub(super) fn new(entries: DeTable<'i>, span: Range<usize>) -> Self {
        Self { entries, span, taken: vec![] }
    }

    /// The same table, named elsewhere.
    pub(super) fn named_at(self, span: Range<usize>) -> Self {
        Self { span, ..self }
    }

    /// Where the table is named.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Takes a string entry off the table.
    pub(super) fn take_str(&mut self, key: &str) -> Option<Spanned<String>> {
        let value = self.entries.get(key)?;
        let text = Spanned::new(value.span(), value.get_ref().as_str()?.to_owned());
        self.entries.remove(key);
        Some(text)
    }

    /// Takes an entry off and reads it. A problem is told at its place.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<T> {
        self.taken.push(key);
        let value = self.entries.remove(key)?;
        read_value(value, problems)
    }

    /// Takes an entry off that is a list of tables.
    pub(crate) fn take_tables(&mut self, key: &str, cx: &mut BuildCx<'_>) -> Vec<Table<'i>> {
        let Some(value) = self.entries.remove(key) else { return vec![] };
        let span = value.span();
        let wrong = |span| Problem::at(span, format!("`{key}` is a list of tables"));
        let DeValue::Array(values) = value.into_inner() else {
            cx.problem(wrong(span));
            return vec![];
        };
        let mut tables = Vec::new();
        for value in values {
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(entries) => tables.push(Table::new(entries, span)),
                _ => cx.problem(wrong(span)),
            }
        }
        tables
    }

    /// Reads the table into a type. A problem in one entry does not hide those in others: the
    /// entry is set aside and the rest is read again.
    pub(crate) fn read<C: DeserializeOwned>(mut self, cx: &mut BuildCx<'_>) -> Option<C> {
        let mut set_aside: Vec<String> = Vec::new();
        loop {
            let value = Spanned::new(self.span.clone(), DeValue::Table(self.entries.clone()));
            let error = match C::deserialize(ValueDeserializer::from(value)) {
                Ok(config) => return set_aside.is_empty().then_some(config),
                Err(error) => error,
            };
            let missing = quoted(error.message(), "missing field ");
            if missing.as_ref().is_some_and(|field| set_aside.contains(field)) {
                return None;
            }
            set_aside.extend(meant(error.message()));
            let span = error.span().filter(|span| !span.is_empty()).unwrap_or_else(|| self.span.clone());
            // What a stage takes besides is not known in the tables within it.
            let inside = self.entries.values().any(|value| encloses(&value.span(), &span));
            cx.problem(explain(error.message(), span.clone(), if inside { &[] } else { &self.taken }));
            match self.remove_entry_at(&span) {
                Some(key) if missing.is_none() => set_aside.push(key),
                _ => return None,
            }
        }
    }

    fn remove_entry_at(&mut self, span: &Range<usize>) -> Option<String> {
        let entry =
            self.entries.iter().find(|(key, value)| [key.span(), value.span()].iter().any(|one| encloses(one, span)));
        let key = entry.map(|(key, _)| key.get_ref().to_string())?;
        self.entries.remove(key.as_str());
        Some(key)
    }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Reads one value. A problem is told at its place, which may be within the value.
pub(super) fn read_value<T: DeserializeOwned>(value: Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Option<T> {
    let whole = value.span();
    let read = T::deserialize(ValueDeserializer::from(value));
    read.map_err(|error| {
        let span = error.span().filter(|span| !span.is_empty()).unwrap_or(whole);
        problems.push(explain(error.message(), span, &[]));
    })
    .ok()
}

/// The name in back-quotes after `prefix`.
fn quoted(message: &str, prefix: &str) -> Option<String> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

/// The key that was meant by an unknown one: it is not also told as missing.
fn meant(message: &str) -> Option<String> {
    let wrong = quoted(message, "unknown field ")?;
    near(&wrong, &expected(message)).map(str::to_owned)
}

/// What serde says, in the words of someone who edits a file.
fn explain(message: &str, span: Range<usize>, taken: &[&str]) -> Problem {
    let message = message.trim();
    if let Some(wrong) = quoted(message, "unknown field ") {
        let problem = Problem::at(span, format!("unknown key `{wrong}`"));
        let known: Vec<_> = expected(message).into_iter().chain(taken.iter().copied()).collect();
        return problem.hint(nearest(&wrong, &known));
    }
    if let Some(wrong) = quoted(message, "unknown variant ") {
        let problem = Problem::at(span, format!("`{wrong}` is not one of the choices here"));
        return problem.hint(nearest(&wrong, &expected(message)));
    }
    if let Some(missing) = quoted(message, "missing field ") {
        return Problem::at(span, format!("the key `{missing}` is missing"));
    }
    if message.starts_with("invalid type: ") && message.ends_with(", expected struct SecretSource") {
        let problem = Problem::at(span, "a secret does not stand in the file itself");
        return problem.private().hint("say where it is: `{ env = \"NAME\" }` or `{ file = \"/path\" }`");
    }
    if message == "wanted string or table" {
        return Problem::at(span, "a string belongs here: one of the choices");
    }
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| message.strip_prefix(prefix));
    match wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((given, wanted)) => Problem::at(
            span,
            format!("this is {}, but {} belongs here", article(&given_words(given)), wanted_words(wanted)),
        ),
        None => Problem::at(span, message.to_owned()),
    }
}

/// What was given, with its value marked as text of the file.
fn given_words(given: &str) -> String {
    match given.split_once(' ') {
        Some(("string", value)) => format!("string `{value}`"),
        Some(("floating", value)) => value.replacen("point", "number", 1),
        _ if given == "sequence" => "list".to_owned(),
        _ if given == "map" => "table".to_owned(),
        _ => given.to_owned(),
    }
}

/// What belongs there, in the words of TOML and not of Rust.
fn wanted_words(wanted: &str) -> String {
    let limits = |low: i128, high: i128| format!("an integer from {low} to {high}");
    match wanted {
        "u8" => limits(0, u8::MAX.into()),
        "u16" => limits(0, u16::MAX.into()),
        "u32" | "u64" | "usize" => "an integer from 0 up".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a borrowed string" | "string" => "a string".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" | "map" => "a table".to_owned(),
        _ if wanted.starts_with("struct ") => "a table".to_owned(),
        _ => article(wanted),
    }
}

fn article(thing: &str) -> String {
    let bare = ["a ", "an ", "the ", "any ", "one "].iter().all(|article| !thing.starts_with(article));
    let vowel = thing.starts_with(['a', 'e', 'i', 'o']);
    match (bare, vowel) {
        (true, true) => format!("an {thing}"),
        (true, false) => format!("a {thing}"),
        _ => thing.to_owned(),
    }
}

/// The names in back-quotes after `expected`.
fn expected(message: &str) -> Vec<&str> {
    let list = message.split_once(", expected ").map(|(_, list)| list).unwrap_or_default();
    list.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_says_reads_as_advice_for_a_file() {
        let told = [
            "invalid type: string \"x\", expected i32",
            "invalid value: integer `70000`, expected u16",
            "invalid type: sequence, expected a string",
            "invalid type: integer `3`, expected a boolean",
            "invalid type: string \"a\", expected struct Limits",
            "invalid type: string \"a\", expected struct SecretSource",
            "invalid type: floating point `1.5`, expected u32",
            "missing field `into`",
            "unknown field `lvel`, expected `level`",
        ]
        .map(|message| explain(message, 0..1, &[]).message);
        assert_eq!(
            told,
            [
                "this is a string `\"x\"`, but an integer belongs here",
                "this is an integer `70000`, but an integer from 0 to 65535 belongs here",
                "this is a list, but a string belongs here",
                "this is an integer `3`, but `true` or `false` belongs here",
                "this is a string `\"a\"`, but a table belongs here",
                "a secret does not stand in the file itself",
                "this is a number `1.5`, but an integer from 0 up belongs here",
                "the key `into` is missing",
                "unknown key `lvel`",
            ]
        );
    }
}
