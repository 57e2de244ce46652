//! Encryption of chunks, each as an age file of its own: <https://age-encryption.org/v1>.

use std::fmt::{self, Debug};
use std::io::{Read, Write};
use std::sync::Arc;

use age::x25519;
use reseed_core::{Error, Result};

use crate::format::Stream;

/// Public keys to which chunks are encrypted; chunks are stored as they are where there is none.
#[derive(Debug, Clone, Default)]
pub struct Recipients(Arc<[x25519::Recipient]>);

impl Recipients {
    /// Reads public keys as `age-keygen` writes them, one in each text: `age1…`.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn parse<'t>(keys: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let read = |key: &str| key.parse().map_err(|_| format!("`{}` is no public key of age", key.escape_debug()));
        keys.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, as text.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// These bytes as an age file.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let keys = self.0.iter().map(|key| key as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(keys);
        let encryptor = encryptor.map_err(|e| Error::failed("a chunk can't be encrypted").because(e))?;
        let mut writer = encryptor.wrap_output(Vec::with_capacity(plain.len() + plain.len() / 1024 + 1024))?;
        writer.write_all(plain)?;
        Ok(writer.finish()?)
    }
}

/// Secret keys that open chunks. They never print.
#[derive(Clone, Default)]
pub struct Identities(Arc<[x25519::Identity]>);

impl Identities {
    /// Reads a file of `age-keygen`: one secret key in each line, beside comments.
    ///
    /// # Errors
    /// When a line is no secret key, or none is there. The text is not in the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Arc<[x25519::Identity]>, _> = lines.map(str::parse).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err("this is no identity of age".to_owned()),
        }
    }

    /// Refuses a stream that these can't open. Nothing is read for that: the manifest names the recipients.
    ///
    /// # Errors
    /// When the stream is encrypted, and to none of these.
    pub fn open(&self, stream: &Stream) -> Result<()> {
        let fits = |key: &x25519::Identity| stream.recipients.contains(&key.to_public().to_string());
        if stream.recipients.is_empty() || self.0.iter().any(fits) {
            return Ok(());
        }
        let why = match self.0.is_empty() {
            true => "no identity is given",
            false => "the identity that is given is of another key",
        };
        let error = Error::refused(format!("the stream of {} is encrypted, and {why}", stream.dataset));
        Err(error.hint(format!(
            "give the repository the secret key of {}: `identity = {{ file = \"/path\" }}`",
            stream.recipients.join(" or ")
        )))
    }

    /// What is in an age file.
    pub(crate) fn decrypt(&self, object: &[u8]) -> Result<Vec<u8>, String> {
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let told = |error: &dyn fmt::Display| format!("it can't be decrypted: {error}");
        let opened = age::Decryptor::new(object).and_then(|file| file.decrypt(keys));
        let mut plain = Vec::with_capacity(object.len());
        opened.map_err(|error| told(&error))?.read_to_end(&mut plain).map_err(|error| told(&error))?;
        Ok(plain)
    }
}

impl Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}
