//! What the settings of a bucket add to requests about its objects.

use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass,
};
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{S3Store, signed};
use crate::format::{CHUNKS, MANIFESTS};
use crate::store::{CustomerKey, Key, LockMode, Sha256};

/// The algorithm of SSE-C; there is but one.
const AES256: &str = "AES256";

impl S3Store {
    /// Writes an object, with all that is asked for it.
    pub(super) fn upload(&self, client: &Client, key: &Key, bytes: Bytes, sha256: Sha256) -> PutObjectFluentBuilder {
        let set = &self.settings;
        let request = client
            .put_object()
            .bucket(&set.bucket)
            .key(self.name(key.as_str()))
            // Some servers heed the checksum only where the algorithm is named too.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(signed::base64(&sha256.0))
            .set_storage_class(set.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption(set.sse.as_deref().map(ServerSideEncryption::from))
            .set_ssekms_key_id(set.sse_kms_key_id.clone())
            .set_sse_customer_algorithm(set.sse_c_key.as_ref().map(|_| AES256.to_owned()))
            .set_sse_customer_key(set.sse_c_key.as_ref().map(|key| key.reveal().to_owned()))
            .set_sse_customer_key_md5(set.sse_c_key.as_ref().map(fingerprint))
            .set_tagging((!set.tags.is_empty()).then(|| tagging(set.tags.iter())))
            .body(ByteStream::from(bytes));
        if is_kept(key) { self.locked(request) } else { request }
    }

    fn locked(&self, mut request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        if let Some(lock) = self.settings.object_lock {
            let mode = match lock.mode {
                LockMode::Governance => ObjectLockMode::Governance,
                LockMode::Compliance => ObjectLockMode::Compliance,
            };
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // Whole seconds: not every server reads more.
            let until = DateTime::from_secs((now + lock.keep).as_secs().cast_signed());
            request = request.object_lock_mode(mode).object_lock_retain_until_date(until);
        }
        match self.settings.legal_hold {
            true => request.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On),
            false => request,
        }
    }

    /// Reads an object.
    pub(super) fn download(&self, client: &Client, key: &Key) -> GetObjectFluentBuilder {
        let own = self.settings.sse_c_key.as_ref();
        client
            .get_object()
            .bucket(&self.settings.bucket)
            .key(self.name(key.as_str()))
            .set_sse_customer_algorithm(own.map(|_| AES256.to_owned()))
            .set_sse_customer_key(own.map(|key| key.reveal().to_owned()))
            .set_sse_customer_key_md5(own.map(fingerprint))
    }

    /// Asks what an object is.
    pub(super) fn look(&self, client: &Client, key: &Key) -> HeadObjectFluentBuilder {
        let own = self.settings.sse_c_key.as_ref();
        client
            .head_object()
            .bucket(&self.settings.bucket)
            .key(self.name(key.as_str()))
            .set_sse_customer_algorithm(own.map(|_| AES256.to_owned()))
            .set_sse_customer_key(own.map(|key| key.reveal().to_owned()))
            .set_sse_customer_key_md5(own.map(fingerprint))
    }
}

/// Whether an object is of a stream, and so to be locked: others come and go.
fn is_kept(key: &Key) -> bool {
    key.as_str().starts_with(CHUNKS) || key.as_str().starts_with(MANIFESTS)
}

/// The MD5 of a key of SSE-C, by which S3 tells whether the key came over whole.
fn fingerprint(key: &CustomerKey) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(key.reveal()).unwrap_or_default();
    signed::base64(&Md5::digest(bytes))
}

/// Tags as S3 wants them in a header: like the query of a URL.
fn tagging<'t>(tags: impl Iterator<Item = (&'t String, &'t String)>) -> String {
    tags.map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn tags_are_written_as_a_query() {
        let tags = [("team", "data & backup"), ("größe", "1/2")].map(|(name, value)| (name.into(), value.into()));
        let tags = BTreeMap::from(tags);
        assert_eq!(tagging(tags.iter()), "gr%C3%B6%C3%9Fe=1%2F2&team=data%20%26%20backup");
    }

    #[test]
    fn the_fingerprint_is_that_of_the_bytes() {
        // printf %s 0123456789abcdef0123456789abcdef | openssl md5 -binary | base64
        let key = CustomerKey::parse("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        assert_eq!(fingerprint(&key), "hRasmdxgYDKV3nvbahU1MA==");
    }

    #[test]
    fn what_comes_and_goes_is_not_locked() {
        let kept = |name: &str| is_kept(&Key::new(name).unwrap());
        assert!(kept("chunks/r/000/00000000.zst") && kept("manifests/a/b/000000.json"));
        assert!(!kept("probe/reseed-1"));
    }
}
