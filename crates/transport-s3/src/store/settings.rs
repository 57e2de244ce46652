//! How a bucket is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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
}

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

/// The store of a bucket. It makes no request before the first call.
///
/// # Errors
/// When this reseed was built without S3.
#[cfg(feature = "s3")]
pub fn s3_store(settings: S3Settings) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(super::S3Store::new(settings)))
}

/// The store of a bucket. It makes no request before the first call.
///
/// # Errors
/// When this reseed was built without S3.
#[cfg(not(feature = "s3"))]
pub fn s3_store(settings: S3Settings) -> Result<Arc<dyn Store>> {
    let error =
        reseed_core::Error::refused(format!("this reseed was built without S3, and can't use {}", settings.url()));
    Err(error.hint("cargo build --features s3"))
}
