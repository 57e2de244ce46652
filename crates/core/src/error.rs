//! The one error type that crosses the traits of this crate.

use std::fmt;

/// What an error means for the run: it decides the exit code of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// A check refused: nothing was touched.
    Refused,
    /// Something went wrong while running.
    Failed,
    /// The run was cancelled from outside.
    Cancelled,
}

/// An error with what caused it and, where there is one, a hint that a tired person can type.
///
/// Messages are lower case and carry no full stop. Plugins keep enums of their own and turn them
/// into this type at the border of their crate.
#[derive(Debug)]
pub struct Error {
    class: Class,
    message: String,
    hint: Option<String>,
    follow_up: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Something went wrong while running.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Class::Failed, message)
    }

    /// A check refuses to go on; nothing has been touched.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Class::Refused, message)
    }

    /// The run was cancelled.
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "cancelled")
    }

    fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), hint: None, follow_up: false, source: None }
    }

    /// Adds what a person can do about it, best as a command to type.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that caused this one.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps this error in what was being attempted; class and hint stay as they are.
    pub fn context(self, attempted: impl Into<String>) -> Self {
        let (class, hint) = (self.class, self.hint.clone());
        Self { class, message: attempted.into(), hint, follow_up: self.follow_up, source: Some(Box::new(self)) }
    }

    /// Marks an error that may come only from what another stage could not find out. Where one could
    /// not, its own refusal is told and this one is not.
    pub fn follow_up(mut self) -> Self {
        self.follow_up = true;
        self
    }

    /// Whether it is marked by [`follow_up`](Self::follow_up).
    pub fn is_follow_up(&self) -> bool {
        self.follow_up
    }

    /// What the error means for the run.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The same error as a refusal: a check that fails has touched nothing.
    pub fn into_refusal(mut self) -> Self {
        if self.class == Class::Failed {
            self.class = Class::Refused;
        }
        self
    }

    /// The same error as a failure: what refuses once stages run may have touched something.
    pub fn into_failure(mut self) -> Self {
        if self.class == Class::Refused {
            self.class = Class::Failed;
        }
        self
    }

    /// The hint of this error or of the first of its causes that has one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message and its causes in one line, separated by `: `.
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let text = cause.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = cause.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_class_and_hint_and_the_chain_names_each_cause_once() {
        let inner = Error::refused("no right to read it").hint("allow it");
        let outer = inner.context("stage reads");
        assert_eq!(outer.class(), Class::Refused);
        assert_eq!(outer.hint_text(), Some("allow it"));
        assert_eq!(outer.chain(), "stage reads: no right to read it");
    }
}
