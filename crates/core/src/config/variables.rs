//! `${name}` in strings of a pipeline file, filled by `--set name=value`.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, nearest};

/// Fills every `${name}`; `$${` stands for a literal `${`. Reports names that are not set and
/// settings that no string asks for.
pub(super) fn fill(root: &mut DeTable<'_>, set: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    let mut fill = Fill { set, asked: BTreeSet::new(), problems };
    fill.table(root);
    let asked = std::mem::take(&mut fill.asked);
    for name in set.keys().filter(|name| !asked.contains(*name)) {
        let known: Vec<_> = asked.iter().map(String::as_str).collect();
        let problem = Problem::of_all(format!("nothing in the file asks for `--set {name}=…`"));
        let hint =
            if known.is_empty() { "the file has no `${…}`; leave it out".into() } else { nearest(name, &known) };
        fill.problems.push(problem.hint(hint));
    }
}

struct Fill<'a> {
    set: &'a BTreeMap<String, String>,
    asked: BTreeSet<String>,
    problems: &'a mut Vec<Problem>,
}

impl Fill<'_> {
    fn table(&mut self, table: &mut DeTable<'_>) {
        table.iter_mut().for_each(|(_, value)| self.value(value));
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains("${") => *text = self.text(text, span).into(),
            DeValue::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            DeValue::Table(table) => self.table(table),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, span: std::ops::Range<usize>) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                self.problems.push(Problem::at(span.clone(), "`${` without its `}`"));
                return filled;
            };
            filled.push_str(&self.value_of(&rest[at + 2..at + end], &span));
            rest = &rest[at + end + 1..];
        }
        filled + rest
    }

    fn value_of(&mut self, name: &str, span: &std::ops::Range<usize>) -> String {
        self.asked.insert(name.to_owned());
        self.set.get(name).cloned().unwrap_or_else(|| {
            let problem = Problem::at(span.clone(), format!("`${{{name}}}` has no value"));
            self.problems.push(problem.hint(format!("add `--set {name}=…` to the call")));
            String::new()
        })
    }
}
