//! Secrets come from the environment or a file, and never print.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuildCx, Located, Problem};

/// Where a secret is: `{ env = "NAME" }` or `{ file = "/path" }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// Name of an environment variable.
    env: Option<String>,
    /// Path of a file; a line end at its end does not count.
    file: Option<String>,
}

/// A secret's value. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value. Never put it into an argument vector, a log or an error.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Reads a secret from where the file says it is. Problems are reported to `cx`.
    pub fn read(source: &Located<SecretSource>, cx: &mut BuildCx<'_>) -> Option<Self> {
        let read = match (&source.env, &source.file) {
            (Some(name), None) => std::env::var(name).map_err(|_| {
                (format!("the environment has no variable `{name}`"), format!("`export {name}=…` before the call"))
            }),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| (format!("can't read the secret in {path}: {error}"), format!("see `ls -l {path}`"))),
            _ => Err((
                "a secret is in one place".to_owned(),
                "say where: `{ env = \"NAME\" }` or `{ file = \"/path\" }`".to_owned(),
            )),
        };
        read.map_err(|(message, hint)| cx.problem(Problem::at(source.span(), message).hint(hint))).ok().map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
