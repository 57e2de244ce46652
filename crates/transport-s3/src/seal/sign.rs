//! Signatures of manifests: Ed25519 (RFC 8032), with keys as `openssl genpkey -algorithm ed25519` writes them.

use std::fmt::{self, Debug};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::format::Manifest;

/// Signs manifests. It never prints.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// Reads a secret key in PEM.
    ///
    /// # Errors
    /// When it is none of Ed25519. The text is not in the error.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let key = SigningKey::from_pkcs8_pem(pem.trim());
        key.map(Self).map_err(|_| "this is no secret key of Ed25519 in PEM".to_owned())
    }

    /// The signature of these bytes, in base64.
    pub fn sign(&self, bytes: &[u8]) -> String {
        BASE64.encode(self.0.sign(bytes).to_bytes())
    }
}

impl Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret key")
    }
}

/// Public keys whose manifests are read. Where there is none, every manifest is.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<VerifyingKey>);

impl Trust {
    /// Reads public keys, each the one line of base64 that `openssl pkey -pubout` writes between its
    /// `-----` lines.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn parse<'t>(keys: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let read = |key: &str| {
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", key.trim());
            VerifyingKey::from_public_key_pem(&pem)
                .map_err(|_| format!("`{}` is no public key of Ed25519", key.escape_debug()))
        };
        keys.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Trusts what this signer signs as well: who signs reads no more than its own and what it was told.
    #[must_use]
    pub fn and(mut self, signer: Option<&Signer>) -> Self {
        self.0.extend(signer.map(|signer| signer.0.verifying_key()));
        self
    }

    /// Judges a manifest that was read from these bytes.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn judge(&self, manifest: &Manifest, bytes: &[u8]) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        if manifest.signature.is_none() {
            return Err("it is not signed".to_owned());
        }
        // What was signed is how this program writes it, so that nothing can hide beside it.
        if manifest.to_bytes().map_err(|error| error.chain())? != bytes {
            return Err("it was altered after it was signed".to_owned());
        }
        let signed = manifest.unsigned().map_err(|error| error.chain())?;
        self.judge_bytes(&signed, manifest.signature.as_deref())
    }

    /// Judges these bytes by what is to be their signature.
    ///
    /// # Errors
    /// Why they are not trusted.
    pub fn judge_bytes(&self, signed: &[u8], signature: Option<&str>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(text) = signature else { return Err("it is not signed".to_owned()) };
        let signature = BASE64.decode(text).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or_else(|| "its signature is none".to_owned())?;
        match self.0.iter().any(|key| key.verify_strict(signed, &signature).is_ok()) {
            true => Ok(()),
            false => Err("it was altered, or signed by a key that is not trusted".to_owned()),
        }
    }
}
