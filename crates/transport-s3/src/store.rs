//! Where objects are kept: one small trait, so that S3 and a directory are the same to all else.

mod counted;
mod file;
mod lasting;
mod leased;
mod over;
mod probe;
#[cfg(feature = "s3")]
mod s3;
mod settings;

use std::fmt::{self, Debug, Display};

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::{Error, Result};

pub use counted::Counted;
pub use file::FileStore;
pub use lasting::Lasting;
pub use leased::Leased;
pub use over::Over;
pub use probe::probe;
#[cfg(feature = "s3")]
pub use s3::S3Store;
pub use settings::{CustomerKey, Keys, LockMode, ObjectLock, Proxy, S3Settings, s3_store};

/// The SHA-256 of an object as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads 64 hex digits in small letters.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
        digits.then(|| Self(std::array::from_fn(byte)))
    }

    /// Refuses bytes that have another hash.
    fn check(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let found = Self::of(bytes);
        match *self == found {
            true => Ok(()),
            false => Err(Error::failed(format!("{key} is to have the SHA-256 {self}, but its bytes have {found}"))),
        }
    }
}

impl Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of an object below a repository's own prefix: parts of letters, digits, `.`, `_`, `-`,
/// separated by `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key of this name.
    ///
    /// # Errors
    /// When it is not one that every store can keep.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
        match name.len() <= 900 && name.split('/').all(good) {
            true => Ok(Self(name)),
            false => Err(Error::failed(format!("`{}` is no name of an object", name.escape_debug()))),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
}

/// Keeps objects, each small enough to be in memory.
///
/// The contract, the same for every store:
/// - An object is there whole or not at all, whatever breaks.
/// - What `put_new` says it has stored was stored by this call, and by no other of the same name.
///   A call whose answer was lost may say that the object is there already: who cares looks at it.
/// - The hash is checked by the store, or by this side in reading back; a mismatch is an error and
///   leaves no object.
/// - Transient failures are retried inside; an error is final.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// The address, for people; no secret is in it.
    fn url(&self) -> String;

    /// What of the contract it holds less strictly than others, in words.
    fn weakness(&self) -> Option<&'static str> {
        None
    }

    /// Judges, read-only, whether the store can do what its settings ask of it beyond keeping objects.
    ///
    /// # Errors
    /// What it can't do, or that it can't be asked.
    async fn judge(&self) -> Result<()> {
        Ok(())
    }

    /// Stores an object, replacing one of its name.
    ///
    /// # Errors
    /// When it can't be stored.
    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()>;

    /// Stores an object unless there is one of its name; `false` where there is.
    ///
    /// # Errors
    /// When it can't be stored.
    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool>;

    /// The whole object; `None` where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>>;

    /// The size of an object; `None` where there is none.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn size(&self, key: &Key) -> Result<Option<u64>>;

    /// Every object whose name begins with this text, in order of name. Names that are no [`Key`]s
    /// are somebody else's and left out.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>>;

    /// Deletes an object; well done where there is none.
    ///
    /// # Errors
    /// When it can't be deleted.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Resolves when no write is under way whose caller has been dropped: what is there then stays so. Called
    /// before what a run has written is removed, or judged by what is there.
    async fn settled(&self) {}
}
