//! Why a machine could not be reached, told apart by what OpenSSH's client says.

use reseed_core::Error;
use thiserror::Error as ThisError;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(crate) enum ConnectError {
    /// Its key is in no file of known hosts.
    #[error("its host key is not known")]
    UnknownKey,
    /// Another key is known for it.
    #[error("its host key is not the one that is known")]
    ChangedKey,
    /// It accepted no key of ours.
    #[error("it let none of the keys in: {0}")]
    Denied(String),
    /// It said no.
    #[error("it refused the connection: {0}")]
    Refused(String),
    /// It said nothing.
    #[error("it did not answer: {0}")]
    Silent(String),
    /// There is no address of that name.
    #[error("its name has no address: {0}")]
    Unresolved(String),
    /// There is no client on this machine.
    #[error("there is no `ssh` on this machine")]
    NoClient,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ConnectError {
    /// What `openssh` gives when it could not connect.
    pub(crate) fn of(error: &openssh::Error) -> Self {
        match error {
            openssh::Error::Connect(io) | openssh::Error::Master(io) => {
                // The client's own words come as an error of another kind: only a failed start has a number.
                match io.kind() {
                    std::io::ErrorKind::NotFound if io.raw_os_error().is_some() => Self::NoClient,
                    _ => Self::said(&io.to_string()),
                }
            }
            other => Self::Other(chain(other)),
        }
    }

    /// Tells the causes apart by what the client said.
    pub(crate) fn said(text: &str) -> Self {
        let text = text.trim();
        let last = || text.lines().last().unwrap_or_default().trim().to_owned();
        let has = |part: &str| text.contains(part);
        match () {
            () if has("REMOTE HOST IDENTIFICATION HAS CHANGED") => Self::ChangedKey,
            () if has("Host key verification failed") || has("host key is known for") => Self::UnknownKey,
            () if has("Permission denied (") || has("Too many authentication failures") => Self::Denied(last()),
            () if has("Could not resolve hostname") => Self::Unresolved(last()),
            () if has("Connection refused") => Self::Refused(last()),
            () if has("timed out") || has("No route to host") || has("unreachable") => Self::Silent(last()),
            () if text.is_empty() => Self::Other("the client ended without a word".to_owned()),
            () => Self::Other(last()),
        }
    }

    fn hint(&self, by_hand: &str) -> String {
        match self {
            Self::UnknownKey => format!("connect once by hand and compare the key that is shown: {by_hand}"),
            Self::ChangedKey => format!("find out why before you replace the known key; see: {by_hand}"),
            Self::Denied(_) => format!("the public key belongs into authorized_keys there; try: {by_hand}"),
            Self::Refused(_) => format!("is sshd running there, on this port? try: {by_hand}"),
            Self::NoClient => "install OpenSSH's client, for example: apt-get install openssh-client".to_owned(),
            Self::Silent(_) | Self::Unresolved(_) | Self::Other(_) => format!("try: {by_hand}"),
        }
    }

    /// As the engine's error; `by_hand` is the call that a person would type to try the same.
    pub(crate) fn on(self, host: &str, by_hand: &str) -> Error {
        let hint = self.hint(by_hand);
        Error::failed(format!("can't connect to {host}")).because(self).hint(hint)
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart_by_what_openssh_says() {
        let unknown = "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\n\
                       Host key verification failed.";
        assert_eq!(ConnectError::said(unknown), ConnectError::UnknownKey);
        let changed =
            "@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.";
        assert_eq!(ConnectError::said(changed), ConnectError::ChangedKey);
        let denied = "op@10.0.0.1: Permission denied (publickey).";
        assert_eq!(ConnectError::said(denied), ConnectError::Denied(denied.into()));
        let refused = "connect to host 127.0.0.1 port 1: Connection refused";
        assert_eq!(ConnectError::said(refused), ConnectError::Refused(refused.into()));
        let silent = "connect to host 10.255.255.1 port 22: Connection timed out";
        assert_eq!(ConnectError::said(silent), ConnectError::Silent(silent.into()));
        let unresolved = "Could not resolve hostname nowhere: Name or service not known";
        assert_eq!(ConnectError::said(unresolved), ConnectError::Unresolved(unresolved.into()));
    }

    #[test]
    fn the_hint_can_be_typed() {
        let error = ConnectError::UnknownKey.on("primary", "ssh -p 2222 op@db1");
        assert_eq!(error.chain(), "can't connect to primary: its host key is not known");
        assert!(error.hint_text().unwrap().ends_with("ssh -p 2222 op@db1"));
    }
}
