//! Pipeline files: TOML with spans, so that every problem is underlined where it is.

mod build;
mod load;
mod located;
mod period;
mod schema;
mod secret;
mod table;
mod variables;

use std::ops::Range;

pub use build::BuildCx;
pub use load::{Loaded, load};
pub use located::{Located, Ref};
pub use period::Period;
pub use schema::pipeline_schema;
pub use secret::{Secret, SecretSource};
pub use table::Table;

/// One thing that is wrong with a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// Where, in bytes of the file; `None` where it is in no one place.
    pub span: Option<Range<usize>>,
    /// A second place that has to do with it, and what it is.
    pub related: Option<(Range<usize>, String)>,
    /// What would help.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), related: None, hint: None }
    }

    /// A problem of the whole file or call.
    pub fn of_all(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, related: None, hint: None }
    }

    /// Adds what would help.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a second place.
    pub fn related(mut self, span: Range<usize>, what: impl Into<String>) -> Self {
        self.related = Some((span, what.into()));
        self
    }
}

/// `did you mean …?` where one of `known` is near, else the list of what is known.
pub(crate) fn nearest(wrong: &str, known: &[&str]) -> String {
    let distance = |name: &&&str| strsim::damerau_levenshtein(wrong, name);
    match known.iter().min_by_key(distance) {
        Some(near) if distance(&near) <= 1 + wrong.len() / 3 => format!("did you mean `{near}`?"),
        Some(_) => format!("known here: {}", known.join(", ")),
        None => "nothing is known here".to_owned(),
    }
}
