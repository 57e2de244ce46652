//! A repository in an S3 bucket: `s3://bucket/prefix`.

mod connect;
mod fault;
mod request;
mod signed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object_lock_configuration::GetObjectLockConfigurationOutput;
use aws_sdk_s3::types::ObjectLockEnabled;
use bytes::{Bytes, BytesMut};
use reseed_core::{Error, Result};
use tokio::sync::OnceCell;

use super::{Key, Object, S3Settings, Sha256, Store};
use fault::{Fault, Place};
use signed::SignedBy;

/// How often what the SDK does not repeat by itself is tried: a body that broke off, a conflict of two
/// conditional writes.
const ATTEMPTS: u32 = 6;
/// The wait before the second attempt; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How many times as long as a body may stand still one attempt may take that has nothing in its body: whether
/// a small body was read at the other end shows only in the answer.
const PATIENCE: u32 = 3;
/// The slowest line on which a body still arrives in time, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// The largest object that is read into memory: an object of reseed is far smaller.
const LARGEST: u64 = 1 << 30;

/// Objects in a bucket, whose names begin with the repository's prefix.
///
/// Bodies are in memory and signed with their SHA-256, which is also sent as the object's checksum:
/// what arrives with another is refused by the server. Each attempt has a time limit that follows the
/// size of its body, and transient failures are retried with growing waits, a bounded number of times.
pub struct S3Store {
    settings: Arc<S3Settings>,
    connected: OnceCell<Connected>,
}

/// The client, and what errors say about where it leads.
#[derive(Debug)]
struct Connected {
    client: Client,
    place: Place,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("url", &self.url()).field("endpoint", &self.settings.endpoint).finish()
    }
}

impl S3Store {
    /// A store in this bucket. Nothing is asked of it before the first call.
    pub fn new(settings: S3Settings) -> Self {
        Self { settings: Arc::new(settings), connected: OnceCell::new() }
    }

    async fn connected(&self) -> Result<&Connected> {
        self.connected.get_or_try_init(|| connect::connect(&self.settings)).await
    }

    /// The name of an object, or of what a listing begins with, in the bucket.
    fn name(&self, key: &str) -> String {
        match self.settings.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// The key of a name in the bucket, where it is one of this repository.
    fn key(&self, name: &str) -> Option<Key> {
        let below = match self.settings.prefix.as_str() {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        Key::new(below).ok()
    }

    /// One look at an object, with its whole body; the inner error is one of the line and worth
    /// another attempt.
    async fn fetch(&self, key: &Key) -> Result<Result<Option<Bytes>, Broken>> {
        let Connected { client, place } = self.connected().await?;
        match self.download(client, key).send().await {
            Ok(object) => body(object, place, key, self.settings.stall).await,
            Err(error) if error.code() == Some("NoSuchKey") => Ok(Ok(None)),
            Err(error) => Err(told(place, format!("can't read {key}"), &error)),
        }
    }
}

/// Why a body did not arrive as it was sent.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("nothing came for {} s after {arrived} of {length} bytes", .stall.as_secs_f32())]
    Stalled { arrived: u64, length: u64, stall: Duration },
    #[error("{arrived} of {length} bytes arrived")]
    Short { arrived: u64, length: u64 },
    #[error("the line broke after {arrived} of {length} bytes: {cause}")]
    Line { arrived: u64, length: u64, cause: String },
}

/// The body of an object, read to its end.
async fn body(
    object: GetObjectOutput,
    place: &Place,
    key: &Key,
    stall: Duration,
) -> Result<Result<Option<Bytes>, Broken>> {
    let refused = |why: String| Error::failed(format!("can't read {key} in {}", place.url)).because(why);
    let length = object.content_length().and_then(|length| u64::try_from(length).ok());
    let length = length.ok_or_else(|| refused("the server doesn't tell its length".to_owned()))?;
    if length > LARGEST {
        return Err(refused(format!("it has {length} bytes: no object of reseed is that large")));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
    let mut parts = object.body;
    loop {
        match tokio::time::timeout(stall, parts.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(part))) => bytes.extend_from_slice(&part),
            Err(_) => return Ok(Err(Broken::Stalled { arrived: bytes.len() as u64, length, stall })),
            Ok(Some(Err(error))) => {
                let cause = fault::chain(&error);
                return Ok(Err(Broken::Line { arrived: bytes.len() as u64, length, cause }));
            }
        }
    }
    match bytes.len() as u64 {
        arrived if arrived == length => Ok(Ok(Some(bytes.freeze()))),
        arrived => Ok(Err(Broken::Short { arrived, length })),
    }
}

fn locks(found: &GetObjectLockConfigurationOutput) -> bool {
    let enabled = found.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
    enabled == Some(&ObjectLockEnabled::Enabled)
}

/// The time limits of a call that moves this many bytes, where a body may stand still for so long.
fn limits(size: usize, stall: Duration) -> aws_sdk_s3::config::Builder {
    let attempt = stall * PATIENCE + Duration::from_secs(size as u64 / SLOWEST);
    let limits = TimeoutConfig::builder().connect_timeout(connect::CONNECT).read_timeout(attempt);
    aws_sdk_s3::Config::builder().timeout_config(limits.operation_attempt_timeout(attempt).build())
}

fn told<E>(place: &Place, doing: String, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    Fault::of(error).told(place, &doing)
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The wait before an attempt, from the second on.
async fn wait_before(attempt: u32) {
    tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt.saturating_sub(1))).await;
}

#[async_trait]
impl Store for S3Store {
    fn url(&self) -> String {
        self.settings.url()
    }

    async fn judge(&self) -> Result<()> {
        if self.settings.object_lock.is_none() && !self.settings.legal_hold {
            return Ok(());
        }
        let Connected { client, place } = self.connected().await?;
        match client.get_object_lock_configuration().bucket(&self.settings.bucket).send().await {
            Ok(found) if locks(&found) => Ok(()),
            Err(error) if error.code() != Some("ObjectLockConfigurationNotFoundError") => {
                Err(told(place, "can't ask whether objects can be locked".to_owned(), &error))
            }
            _ => Err(Fault::NoLock.told(place, "can't keep objects locked")),
        }
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        let Connected { client, place } = self.connected().await?;
        let limits = limits(bytes.len(), self.settings.stall);
        let request = self.upload(client, key, bytes, sha256).customize();
        let sent = request.config_override(limits).interceptor(SignedBy(sha256)).send().await;
        sent.map(|_| ()).map_err(|error| told(place, format!("can't write {key}"), &error))
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        let Connected { client, place } = self.connected().await?;
        let mut attempt = 1;
        loop {
            let request = self.upload(client, key, bytes.clone(), sha256).if_none_match("*").customize();
            let sent = request
                .config_override(limits(bytes.len(), self.settings.stall))
                .interceptor(SignedBy(sha256))
                .send()
                .await;
            let error = match sent {
                Ok(_) => return Ok(true),
                Err(error) => error,
            };
            match status(&error) {
                Some(412) => return Ok(false),
                // Another such write is under way, and this one has not been judged.
                Some(409) if attempt < ATTEMPTS => {
                    wait_before(attempt).await;
                    attempt += 1;
                }
                _ => return Err(told(place, format!("can't write {key}"), &error)),
            }
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let mut attempt = 1;
        loop {
            match self.fetch(key).await? {
                Ok(found) => return Ok(found),
                Err(_) if attempt < ATTEMPTS => {
                    wait_before(attempt).await;
                    attempt += 1;
                }
                Err(broken) => {
                    let place = &self.connected().await?.place;
                    return Err(Fault::Broken(broken.to_string()).told(place, &format!("can't read {key}")));
                }
            }
        }
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        let Connected { client, place } = self.connected().await?;
        match self.look(client, key).send().await {
            Ok(object) => Ok(object.content_length().and_then(|length| u64::try_from(length).ok())),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(told(place, format!("can't look at {key}"), &error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let Connected { client, place } = self.connected().await?;
        let request = client.list_objects_v2().bucket(&self.settings.bucket).prefix(self.name(prefix));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| told(place, "can't list".to_owned(), &error))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let key = self.key(object.key()?)?;
                let size = u64::try_from(object.size()?).ok()?;
                Some(Object { key, size })
            }));
        }
        // Servers sort in more than one way.
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found.dedup_by(|a, b| a.key == b.key);
        Ok(found)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let Connected { client, place } = self.connected().await?;
        let deleted = client.delete_object().bucket(&self.settings.bucket).key(self.name(key.as_str())).send().await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(told(place, format!("can't delete {key}"), &error)),
        }
    }
}
