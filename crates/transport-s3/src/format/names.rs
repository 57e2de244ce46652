//! Names of objects.

use reseed_core::Result;

use crate::store::{Key, Sha256};

/// Where manifests are.
pub const MANIFESTS: &str = "manifests/";
/// Where chunks are.
pub const CHUNKS: &str = "chunks/";
/// Where it is said what becomes of uploads.
pub const UPLOADS: &str = "uploads/";

/// The object of a chain's manifest at this depth.
///
/// # Errors
/// When the name is too long.
pub fn manifest_key(dataset: &str, root: &str, depth: u32) -> Result<Key> {
    Key::new(format!("{MANIFESTS}{}/{}/{depth:06}.json", safe(dataset), safe(root)))
}

/// What the names of all chunks of an upload begin with.
pub fn chunks_of(upload: &str) -> String {
    format!("{CHUNKS}{}/", safe(upload))
}

/// What the name of a chunk begins with: where it stands, and what its frame holds.
pub fn chunk_stem(upload: &str, stream: usize, chunk: usize, frame: &Sha256) -> String {
    format!("{}{stream:03}/{chunk:08}-{frame}", chunks_of(upload))
}

/// The object of a chunk.
///
/// # Errors
/// When the name is too long.
pub fn chunk_key(stem: &str) -> Result<Key> {
    Key::new(format!("{stem}.zst"))
}

/// The object of a chunk that is encrypted: each time to other bytes.
///
/// # Errors
/// When the name is too long.
pub fn encrypted(stem: &str, object: &Sha256) -> Result<Key> {
    Key::new(format!("{stem}-{object}.zst.age"))
}

/// What the name of a chunk tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkName {
    /// The upload, as it is in names.
    pub upload: String,
    /// See [`chunk_stem`].
    pub stem: String,
    /// The SHA-256 of the object, where it is encrypted.
    pub object: Option<Sha256>,
}

impl ChunkName {
    /// Reads a name; `None` where it is none that reseed gives to a chunk.
    pub fn read(key: &Key) -> Option<Self> {
        let parts: Vec<_> = key.as_str().strip_prefix(CHUNKS)?.split('/').collect();
        let [upload, stream, name] = parts[..] else { return None };
        let (rest, is_encrypted) = match name.strip_suffix(".zst.age") {
            Some(rest) => (rest, true),
            None => (name.strip_suffix(".zst")?, false),
        };
        let parts: Vec<_> = rest.split('-').collect();
        let (number, frame, object) = match parts[..] {
            [number, frame] if !is_encrypted => (number, frame, None),
            [number, frame, object] if is_encrypted => (number, frame, Some(Sha256::parse(object)?)),
            _ => return None,
        };
        let digits = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
        let good = digits(stream, 3) && digits(number, 8) && Sha256::parse(frame).is_some();
        let stem = format!("{CHUNKS}{upload}/{stream}/{number}-{frame}");
        good.then(|| Self { upload: upload.to_owned(), stem, object })
    }
}

/// What the names of all records of an upload begin with.
pub fn records_of(upload: &str) -> String {
    format!("{UPLOADS}{}/", safe(upload))
}

/// The object of an upload's record of this number.
///
/// # Errors
/// When the name is too long.
pub fn record_key(upload: &str, number: u32) -> Result<Key> {
    Key::new(format!("{}{number:06}.json", records_of(upload)))
}

/// What the names of all marks of an upload's stream begin with.
pub fn marks_of(upload: &str, stream: usize) -> String {
    format!("{}kept/{stream:03}/", records_of(upload))
}

/// The object that says of a chunk that it is kept.
///
/// # Errors
/// When the name is too long.
pub fn mark_key(upload: &str, stream: usize, chunk: usize) -> Result<Key> {
    Key::new(format!("{}{chunk:08}.json", marks_of(upload, stream)))
}

/// Upload, as it is in names, of a mark; `None` where it is no mark's name.
pub fn marked_upload(key: &Key) -> Option<&str> {
    let (upload, rest) = key.as_str().strip_prefix(UPLOADS)?.split_once('/')?;
    rest.starts_with("kept/").then_some(upload)
}

/// Upload, as it is in names, and number of a record's object; `None` where it is no record's name.
pub fn record_position(key: &Key) -> Option<(String, u32)> {
    let (upload, file) = key.as_str().strip_prefix(UPLOADS)?.split_once('/')?;
    Some((upload.to_owned(), number(file)?))
}

/// Whether a chain, by its name, is that of a dataset.
pub fn is_of(chain: &str, dataset: &str) -> bool {
    chain.split_once('/').is_some_and(|(name, _)| name == safe(dataset))
}

/// Chain, root and depth of a manifest's object; `None` where it is no manifest's name.
pub fn position(key: &Key) -> Option<(String, u32)> {
    let (chain, file) = key.as_str().strip_prefix(MANIFESTS)?.rsplit_once('/')?;
    Some((chain.to_owned(), number(file)?))
}

/// The number in `000000.json`.
fn number(file: &str) -> Option<u32> {
    let digits = file.strip_suffix(".json").filter(|digits| digits.len() == 6)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// A name as one part of an object's name: whatever is not a letter, a digit, `.` or `-` becomes `_`
/// and two hex digits for each byte, so that two names never become one.
pub(crate) fn safe(name: &str) -> String {
    let keep = |at: usize, byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' && at > 0;
    let part = |(at, byte): (usize, u8)| match keep(at, byte) {
        true => char::from(byte).to_string(),
        false => format!("_{byte:02X}"),
    };
    name.bytes().enumerate().map(part).collect()
}
