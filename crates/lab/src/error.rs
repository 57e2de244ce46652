//! What can go wrong with a lab.

use std::io;

/// Why a part of the lab could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Something that must be installed is not.
    #[error("{what} is missing")]
    Missing {
        /// What is missing.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// A program failed.
    #[error("`{command}` {how}: {said}")]
    Command {
        /// The command as a person would type it.
        command: String,
        /// How it ended.
        how: String,
        /// What it wrote to standard error.
        said: String,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {seconds} s")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
    },
}

/// The result of everything that can fail here.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

impl LabError {
    /// Wraps what the operating system said, for `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// What would help, where something does.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { hint, .. } => Some(hint),
            _ => None,
        }
    }
}

impl From<LabError> for reseed_core::Error {
    fn from(error: LabError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let told = Self::failed(error.to_string());
        match hint {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}
