//! What goes wrong with S3, told so that a person knows what to do.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use reseed_core::Error;

/// Where a client leads, for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The repository.
    pub(super) url: String,
    /// The bucket.
    pub(super) bucket: String,
    /// The server, where it is not Amazon's.
    pub(super) endpoint: Option<String>,
    /// The region, where one is known.
    pub(super) region: Option<String>,
    /// Whether objects are encrypted with a key that each request brings.
    pub(super) sse_c: bool,
}

/// The kinds of failure that have each a remedy of their own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("no credentials were found: {0}")]
    NoCredentials(String),
    #[error("there is no such bucket")]
    NoBucket,
    #[error("the server doesn't know the access key")]
    UnknownKey,
    #[error("the secret key is not that of the access key")]
    WrongSecret,
    #[error("the keys have no permission for that")]
    Denied,
    #[error("the bucket is in another region{}", .0.as_ref().map(|right| format!(": {right}")).unwrap_or_default())]
    WrongRegion(Option<String>),
    #[error("the token has expired or is none")]
    Expired,
    #[error("the clocks of this machine and of the server differ too much")]
    Skewed,
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    #[error("what arrived has another SHA-256 than it should")]
    WrongHash,
    #[error("the server can't do this: {0}")]
    Unable(String),
    #[error("the server is overloaded or out of order: {0}")]
    Busy(String),
    #[error("the server has no space left, or the quota is used up")]
    Full,
    #[error("the line breaks each time: {0}")]
    Broken(String),
    #[error("the bucket has no object lock")]
    NoLock,
    #[error("the server refuses what `{key}` asks for: {said}")]
    Setting { key: &'static str, said: String },
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// What an error of the SDK comes to.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let Some(response) = error.raw_response() else { return Self::without_answer(&chain(error)) };
        let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
        let status = response.status().as_u16();
        Self::answered(status, error.code(), error.message(), region).unwrap_or_else(|| Self::Other(chain(error)))
    }

    fn without_answer(text: &str) -> Self {
        let lower = text.to_lowercase();
        match () {
            () if ["certificate", "unknownissuer", "tls", "ssl"].iter().any(|word| lower.contains(word)) => {
                Self::Untrusted(text.to_owned())
            }
            () => Self::Unreachable(text.to_owned()),
        }
    }

    /// By the code of S3, else by the status: an answer to HEAD has no code.
    fn answered(status: u16, code: Option<&str>, message: Option<&str>, region: Option<String>) -> Option<Self> {
        let said = || match (code, message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => format!("HTTP status {status}"),
        };
        let named = message.and_then(expected_region);
        Some(match (code.unwrap_or_default(), status) {
            ("NoSuchBucket", _) => Self::NoBucket,
            ("InvalidAccessKeyId", _) => Self::UnknownKey,
            ("SignatureDoesNotMatch", _) => Self::WrongSecret,
            ("PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException", _) => {
                Self::WrongRegion(region)
            }
            ("AuthorizationHeaderMalformed", _) if region.is_some() || named.is_some() => {
                Self::WrongRegion(region.or(named))
            }
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "RequestExpired", _) => Self::Expired,
            ("RequestTimeTooSkewed", _) => Self::Skewed,
            ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "InvalidDigest", _) => {
                Self::WrongHash
            }
            ("NotImplemented", _) | (_, 405 | 501) => Self::Unable(said()),
            ("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => Self::Full,
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => Self::Denied,
            (_, 301 | 307 | 308) => Self::WrongRegion(region),
            ("SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout", _) | (_, 429 | 500..) => {
                Self::Busy(said())
            }
            (code, 400) if let Some(key) = setting(code, message.unwrap_or_default()) => {
                Self::Setting { key, said: said() }
            }
            ("", 400) if region.is_some() => Self::WrongRegion(region),
            ("", _) => return None,
            _ => Self::Other(said()),
        })
    }

    /// As an error of what was being done.
    pub(super) fn told(&self, place: &Place, doing: &str) -> Error {
        Error::failed(format!("{doing} in {}", place.url)).because(self.clone()).hint(self.hint(place))
    }

    fn hint(&self, place: &Place) -> String {
        let bucket = &place.bucket;
        let server = place.endpoint.as_deref().unwrap_or("https://s3.amazonaws.com");
        let aws = match &place.endpoint {
            Some(endpoint) => format!("aws --endpoint-url {endpoint}"),
            None => "aws".to_owned(),
        };
        match self {
            Self::NoCredentials(_) => "set `access_key_id` and `secret_access_key`, or `profile`, or export \
                                       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            Self::NoBucket => format!("look at the name in `url`, or make it: {aws} s3 mb s3://{bucket}"),
            Self::UnknownKey => format!("look at `access_key_id` and `endpoint` ({server})"),
            Self::WrongSecret => "look at `secret_access_key`".to_owned(),
            Self::Denied if place.sse_c => format!(
                "see whether `sse_c_key` is the one with which the objects of {bucket} were written, and whether \
                 the keys may read, write and delete them"
            ),
            Self::Denied => format!(
                "allow the keys s3:GetObject, s3:PutObject and s3:DeleteObject on the objects of {bucket}, and \
                 s3:ListBucket on the bucket itself"
            ),
            Self::WrongRegion(Some(right)) => format!("set `region = \"{right}\"`"),
            Self::WrongRegion(None) => {
                let given = place.region.as_deref().unwrap_or("none");
                format!("set `region` (now {given}); {aws} s3api get-bucket-location --bucket {bucket} tells it")
            }
            Self::Expired => "get new temporary keys with their `session_token`; where a profile gives them, \
                              log in again: aws sso login"
                .to_owned(),
            Self::Skewed => {
                "look at the time, and let the system keep it: date -u; timedatectl set-ntp true".to_owned()
            }
            Self::Unreachable(_) => format!("look at `endpoint`; curl -v {server}"),
            Self::Untrusted(_) => "name the server's own authority: `ca_file = \"/path/ca.pem\"`".to_owned(),
            Self::WrongHash => {
                "something between here and there changes bytes: look at proxies and at the memory".to_owned()
            }
            Self::Unable(_) => {
                "this server is not enough of an S3; docs/format.md tells what is asked of it".to_owned()
            }
            Self::Busy(_) => format!("try again later; curl -v {server}"),
            Self::Full => format!("make room: {aws} s3 ls --summarize --recursive s3://{bucket}"),
            Self::Broken(_) => format!("look at the line and at proxies on it; curl -v {server}"),
            Self::NoLock => format!(
                "leave out `object_lock` and `legal_hold`, or allow it: {aws} s3api put-object-lock-configuration \
                 --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled"
            ),
            Self::Setting { key, .. } => format!("look at `{key}` of the repository"),
            Self::Other(_) => format!("look at what the server itself has logged; curl -v {server}"),
        }
    }
}

/// The key of a repository's table whose value an answer is about.
fn setting(code: &str, message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    Some(match code {
        "InvalidStorageClass" => "storage_class",
        "InvalidTag" => "tags",
        "InvalidRetentionPeriod" => "object_lock",
        code if code.starts_with("KMS.") => "sse_kms_key_id",
        "InvalidRequest" | "InvalidArgument" if message.contains("object lock") => "object_lock",
        "InvalidRequest" | "InvalidArgument" if message.contains("encrypt") => "sse_c_key",
        _ => return None,
    })
}

/// The region in `…; expecting 'eu-central-1'`.
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region.to_owned())
}

/// An error with all of its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let endpoint = Some("http://127.0.0.1:8333".to_owned());
        Place { url: "s3://backups/pg".into(), bucket: "backups".into(), endpoint, region: None, sse_c: false }
    }

    #[test]
    fn answers_are_told_apart_by_code_and_else_by_status() {
        let of = |status, code| Fault::answered(status, code, None, None);
        assert_eq!(of(404, Some("NoSuchBucket")), Some(Fault::NoBucket));
        assert_eq!(of(403, Some("InvalidAccessKeyId")), Some(Fault::UnknownKey));
        assert_eq!(of(403, Some("SignatureDoesNotMatch")), Some(Fault::WrongSecret));
        assert_eq!(of(403, Some("RequestTimeTooSkewed")), Some(Fault::Skewed));
        assert_eq!(of(403, None), Some(Fault::Denied));
        assert_eq!(of(400, Some("ExpiredToken")), Some(Fault::Expired));
        assert_eq!(of(400, Some("BadDigest")), Some(Fault::WrongHash));
        assert_eq!(of(503, Some("SlowDown")), Some(Fault::Busy("SlowDown".into())));
        assert_eq!(of(502, None), Some(Fault::Busy("HTTP status 502".into())));
        assert_eq!(of(501, Some("NotImplemented")), Some(Fault::Unable("NotImplemented".into())));
        assert_eq!(of(418, None), None);
        let key = |code, message| match Fault::answered(400, Some(code), Some(message), None) {
            Some(Fault::Setting { key, .. }) => Some(key),
            _ => None,
        };
        assert_eq!(key("InvalidStorageClass", "x"), Some("storage_class"));
        assert_eq!(key("KMS.NotFoundException", "x"), Some("sse_kms_key_id"));
        assert_eq!(key("InvalidRequest", "Bucket is missing Object Lock Configuration"), Some("object_lock"));
        assert_eq!(key("InvalidRequest", "x"), None);
    }

    #[test]
    fn the_right_region_is_told_where_the_server_tells_it() {
        let message =
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'";
        let fault = Fault::answered(400, Some("AuthorizationHeaderMalformed"), Some(message), None);
        assert_eq!(fault, Some(Fault::WrongRegion(Some("eu-central-1".into()))));
        let redirect = Fault::answered(301, Some("PermanentRedirect"), None, Some("eu-west-1".into())).unwrap();
        assert_eq!(redirect.told(&place(), "can't list").hint_text(), Some("set `region = \"eu-west-1\"`"));
    }

    #[test]
    fn a_fault_reads_as_one_clear_line() {
        let error = Fault::NoBucket.told(&place(), "can't list");
        assert_eq!(error.chain(), "can't list in s3://backups/pg: there is no such bucket");
        let hint = "look at the name in `url`, or make it: aws --endpoint-url http://127.0.0.1:8333 s3 mb s3://backups";
        assert_eq!(error.hint_text(), Some(hint));
    }
}
