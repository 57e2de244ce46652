//! Where a repository is: `file:///path` or `s3://bucket/prefix`.

use std::path::PathBuf;

use crate::store::Key;

/// The longest prefix within a bucket: a name in S3 is 1024 bytes at most, and a key up to 900.
const LONGEST_PREFIX: usize = 120;

/// A repository's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A directory of this machine, by an absolute path.
    File(PathBuf),
    /// Names of a bucket that begin with a prefix.
    S3 {
        /// The bucket.
        bucket: String,
        /// The prefix, without a `/` at its ends; may be empty.
        prefix: String,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with something else.
    #[error("`{0}` is no address of a repository")]
    Scheme(String),
    /// It holds a user or a password, which are not told.
    #[error("an address of a repository has no user and no password in it")]
    Credentials,
    /// The path is not absolute, or names a machine.
    #[error("`{0}` names no absolute path")]
    Path(String),
    /// The bucket's name is none.
    #[error("`{0}` is no name of a bucket")]
    Bucket(String),
    /// The prefix has parts that a name of an object can't have, or is too long.
    #[error("`{0}` is no prefix: it has up to 120 letters, digits, `.`, `_`, `-` in parts separated by `/`")]
    Prefix(String),
}

impl AddressError {
    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "it is written `s3://bucket/prefix` or `file:///path`",
            Self::Credentials => "keys go into `access_key_id` and `secret_access_key`, or into the environment",
            Self::Path(_) => "three slashes: `file:///srv/reseed`",
            Self::Bucket(_) => "it has 3 to 63 letters, digits, `.` and `-`: `s3://my-bucket/reseed`",
            Self::Prefix(_) => "for example `s3://my-bucket/reseed`",
        }
    }
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        if rest.split('/').next().is_some_and(|machine| machine.contains('@')) {
            return Err(AddressError::Credentials);
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Self::File(path.into())),
                false => Err(AddressError::Path(text.to_owned())),
            };
        }
        let rest = text.strip_prefix("s3://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        if !is_bucket(bucket) {
            return Err(AddressError::Bucket(bucket.to_owned()));
        }
        if !prefix.is_empty() && (prefix.len() > LONGEST_PREFIX || Key::new(prefix).is_err()) {
            return Err(AddressError::Prefix(prefix.to_owned()));
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// As Amazon's rule, but with capitals and `_`, which other servers allow.
fn is_bucket(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (3..=63).contains(&name.len()) && name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let s3 = |bucket: &str, prefix: &str| Ok(Address::S3 { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!(Address::parse("file:///srv/reseed"), Ok(Address::File("/srv/reseed".into())));
        assert_eq!(Address::parse("file:///srv/@reseed"), Ok(Address::File("/srv/@reseed".into())));
        assert_eq!(Address::parse("s3://backups"), s3("backups", ""));
        assert_eq!(Address::parse("s3://backups/"), s3("backups", ""));
        assert_eq!(Address::parse("s3://backups/pg/main/"), s3("backups", "pg/main"));
    }

    #[test]
    fn what_is_no_address_is_told_with_what_is_wrong() {
        let wrong = |text: &str| Address::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("/srv/reseed"), "`/srv/reseed` is no address of a repository");
        assert_eq!(wrong("file://srv/reseed"), "`file://srv/reseed` names no absolute path");
        assert_eq!(wrong("s3:///prefix"), "`` is no name of a bucket");
        assert_eq!(wrong("s3://b/p"), "`b` is no name of a bucket");
        assert_eq!(wrong("s3://id:hunter2@bucket/p"), "an address of a repository has no user and no password in it");
        assert_eq!(wrong("https://id:hunter2@host"), "an address of a repository has no user and no password in it");
        assert!(wrong("s3://bucket/a//b").starts_with("`a//b` is no prefix"));
        assert!(wrong("s3://bucket/../b").starts_with("`../b` is no prefix"));
    }
}
