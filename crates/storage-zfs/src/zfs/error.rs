//! Why `zfs` did not do what it was asked.

use reseed_core::Error;

use crate::parse::Said;

/// Why a command of `zfs` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZfsError {
    /// It could not be run at all.
    #[error(transparent)]
    Host(Error),
    /// A name that ZFS does not take; nothing was run.
    #[error("`{name}` is no name of a dataset: {why}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It said that it had mounted a file system, which is nowhere to be seen.
    #[error("{0} is not mounted though `zfs mount` ended well")]
    NotMounted(String),
    /// It ran and refused.
    #[error("`{command}` on {host}: {}", first_lines(text))]
    Said {
        /// What it means.
        said: Said,
        /// The command as a person would type it.
        command: String,
        /// The host.
        host: String,
        /// The dataset or snapshot that it was about.
        subject: String,
        /// Its words.
        text: String,
    },
}

impl ZfsError {
    /// What its words mean, if it ran at all.
    pub(crate) fn said(&self) -> Option<Said> {
        match self {
            ZfsError::Said { said, .. } => Some(*said),
            _ => None,
        }
    }
}

impl From<ZfsError> for Error {
    fn from(error: ZfsError) -> Self {
        match error {
            ZfsError::Host(error) => error,
            ZfsError::Name { .. } => Error::failed(error.to_string()).hint("rename it: letters, digits and `-_.:`"),
            ZfsError::NotMounted(ref dataset) => {
                let hint = format!("see why: `zfs get mountpoint,canmount,mounted {dataset}`");
                Error::failed(error.to_string()).hint(hint)
            }
            ZfsError::Said { said, ref subject, .. } => {
                let failed = Error::failed(error.to_string());
                match said.hint(subject) {
                    Some(hint) => failed.hint(hint),
                    None => failed,
                }
            }
        }
    }
}

/// What was said without the usage text or the list that may follow it.
fn first_lines(text: &str) -> String {
    let told = text.lines().take_while(|line| !line.starts_with("usage:") && !line.starts_with("use '-"));
    told.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_command_host_cause_and_what_to_do() {
        let text = "cannot destroy 'tb/a@1': snapshot has dependent clones\nuse '-R' to destroy the following:\ntb/c\n";
        let error = ZfsError::Said {
            said: Said::read(text),
            command: "zfs destroy tb/a@1".into(),
            host: "standby".into(),
            subject: "tb/a@1".into(),
            text: text.into(),
        };
        let error = Error::from(error);
        assert_eq!(
            error.to_string(),
            "`zfs destroy tb/a@1` on standby: cannot destroy 'tb/a@1': snapshot has dependent clones"
        );
        assert_eq!(error.hint_text(), Some("see its clones: `zfs list -r -o name,origin tb | grep tb/a@`"));
    }
}
