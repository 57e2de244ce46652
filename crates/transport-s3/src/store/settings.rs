//! How a bucket is reached.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reseed_core::Result;

use super::Store;

/// An S3 bucket and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with, without a `/` at its ends; may be empty.
    pub prefix: String,
    /// URL of the server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The bucket's region, where it is not told by the environment or a profile.
    pub region: Option<String>,
    /// Whether the bucket is named in the path; by default it is where there is an endpoint.
    pub path_style: Option<bool>,
    /// Profile of the AWS configuration files.
    pub profile: Option<String>,
    /// PEM file of certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Keys, where they are not to be found as the AWS tools find them.
    pub keys: Option<Keys>,
    /// Storage class of new objects.
    pub storage_class: Option<String>,
    /// What the server encrypts new objects with.
    pub sse: Option<String>,
    /// The key of `aws:kms`.
    pub sse_kms_key_id: Option<String>,
    /// The key with which the server encrypts and decrypts objects, and which it forgets at once (SSE-C).
    pub sse_c_key: Option<CustomerKey>,
    /// For how long what is put of streams can't be deleted.
    pub object_lock: Option<ObjectLock>,
    /// Whether what is put of streams can't be deleted until somebody lifts that.
    pub legal_hold: bool,
    /// Tags of new objects.
    pub tags: BTreeMap<String, String>,
    /// The proxy on the way; by default that of the environment.
    pub proxy: Proxy,
    /// How long a body may stand still before the attempt is given up.
    pub stall: Duration,
}

/// How long a body may stand still, unless it is said otherwise.
const STALL: Duration = Duration::from_secs(20);

impl S3Settings {
    /// A bucket with everything else as it is by default.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            region: None,
            path_style: None,
            profile: None,
            ca_file: None,
            keys: None,
            storage_class: None,
            sse: None,
            sse_kms_key_id: None,
            sse_c_key: None,
            object_lock: None,
            legal_hold: false,
            tags: BTreeMap::new(),
            proxy: Proxy::Environment,
            stall: STALL,
        }
    }

    /// The address, for people.
    pub fn url(&self) -> String {
        let url = format!("s3://{}/{}", self.bucket, self.prefix);
        url.trim_end_matches('/').to_owned()
    }
}

/// Keys of S3. They never print.
#[derive(Clone)]
pub struct Keys {
    /// The access key.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// The token of temporary keys.
    pub session_token: Option<String>,
}

impl Keys {
    /// These keys.
    pub fn new(id: impl Into<String>, secret: impl Into<String>, token: Option<String>) -> Self {
        Self { access_key_id: id.into(), secret_access_key: secret.into(), session_token: token }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A lock on new objects: for a time from their writing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// For how long.
    pub keep: Duration,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Whoever has a permission of its own for that.
    Governance,
    /// Nobody, until the time is over.
    Compliance,
}

/// The way to the server.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Straight, whatever the environment says.
    Straight,
    /// By this proxy.
    Url {
        /// `http://host:port`.
        url: String,
        /// User and password, where it asks for them.
        login: Option<(String, String)>,
    },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "Environment",
            Self::Straight => "Straight",
            Self::Url { url, .. } => url,
        })
    }
}

/// A key of SSE-C, in base64. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey(String);

impl CustomerKey {
    /// Reads a key as `openssl rand -base64 32` writes it.
    ///
    /// # Errors
    /// When it is none; the text is not in the message.
    pub fn parse(text: &str) -> Result<Self, String> {
        use base64::Engine;
        let text = text.trim();
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err("this is no key of 32 bytes in base64".to_owned()),
        }
    }

    /// The key in base64.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The store of a bucket. It makes no request before the first call.
///
/// # Errors
/// When this reseed was compiled without `s3`.
#[cfg(feature = "s3")]
pub fn s3_store(settings: S3Settings) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(super::S3Store::new(settings)))
}

/// The store of a bucket. It makes no request before the first call.
///
/// # Errors
/// When this reseed was compiled without `s3`.
#[cfg(not(feature = "s3"))]
pub fn s3_store(settings: S3Settings) -> Result<Arc<dyn Store>> {
    let error =
        reseed_core::Error::refused(format!("this reseed was compiled without `s3`, and can't use {}", settings.url()));
    Err(error.hint("cargo build --release --features s3, or keep the repository in a directory: file:///path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_sse_c_has_32_bytes_and_never_prints() {
        let key = CustomerKey::parse("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
        assert_eq!(format!("{key:?}"), "***");
        for wrong in ["", "MDEyMzQ1Njc4OWFiY2RlZg==", "0123456789abcdef0123456789abcdef"] {
            assert!(!CustomerKey::parse(wrong).unwrap_err().contains("0123"), "{wrong}");
        }
        let login = Some(("me".to_owned(), "hunter2".to_owned()));
        let proxy = Proxy::Url { url: "http://proxy:3128".to_owned(), login };
        assert!(!format!("{proxy:?}").contains("hunter2"));
    }
}
