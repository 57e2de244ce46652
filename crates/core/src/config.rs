//! Pipeline files: TOML with spans, so that every problem is underlined where it is.

mod build;
mod limits;
mod load;
mod located;
mod period;
mod resources;
mod schema;
mod secret;
mod size;
mod table;
mod text;
mod variables;

use std::ops::Range;

pub use build::BuildCx;
pub use limits::TIMEOUT_DOC;
#[cfg(feature = "testkit")]
pub(crate) use load::stages;
pub use load::{Loaded, load};
pub use located::{Located, Ref};
pub use period::Period;
pub use resources::Resources;
pub use schema::pipeline_schema;
pub use secret::{Secret, SecretSource};
pub use size::{Rate, Size};
pub use table::Table;
pub use text::Text;

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
    /// Whether what stands there must not be shown, because it may be a secret.
    pub private: bool,
}

impl Problem {
    /// A problem at a place.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), related: None, hint: None, private: false }
    }

    /// A problem of the whole file or call.
    pub fn of_all(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, related: None, hint: None, private: false }
    }

    /// Adds what would help.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that what stands there must not be shown.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Adds a second place.
    pub fn related(mut self, span: Range<usize>, what: impl Into<String>) -> Self {
        self.related = Some((span, what.into()));
        self
    }
}

/// The one of `known` that was probably meant.
pub(crate) fn near<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(wrong, name);
    let nearest = known.iter().copied().min_by_key(distance).filter(|name| distance(name) <= (wrong.len() / 3).max(1));
    nearest.or_else(|| known.iter().copied().find(|name| wrong.len() > 2 && name.starts_with(wrong)))
}

/// `did you mean …?` where one of `known` is near, else the list of what is known.
pub(crate) fn nearest(wrong: &str, known: &[&str]) -> String {
    match near(wrong, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "leave it out: nothing belongs here".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_one_that_was_meant() {
        let known = ["host", "data_directory", "levels"];
        let told = ["hots", "data_dir", "level", "xyz"].map(|wrong| nearest(wrong, &known));
        assert_eq!(
            told,
            [
                "did you mean `host`?",
                "did you mean `data_directory`?",
                "did you mean `levels`?",
                "known here: host, data_directory, levels",
            ]
        );
        assert_eq!(nearest("xyz", &[]), "leave it out: nothing belongs here");
    }
}
