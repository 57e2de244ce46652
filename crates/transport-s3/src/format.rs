//! The staged format: what a repository holds, field by field. See `docs/format.md`.
//!
//! - `manifests/CHAIN/ROOT/000000.json` is a full stream of every dataset of the chain,
//!   `000001.json` the first increment after it, and so on. `CHAIN` is the main dataset's name, `ROOT`
//!   the run that made the full.
//! - `chunks/RUN/000/00000000.zst` is the first piece of the first stream of a run.
//! - `….zst.age` is the same, encrypted.
//!
//! A manifest is written last and only where there is none: without it the increment does not exist.

use bytes::Bytes;
use reseed_core::item::Facts;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::seal::Signer;
use crate::store::{Key, Sha256};

/// What every manifest calls itself.
pub const FORMAT: &str = "reseed-staged";
/// The newest version that is read, and the one that is written.
pub const VERSION: u32 = 1;
/// The most bytes of a stream in one chunk: whoever reads one has it in memory as a whole.
pub const LARGEST_CHUNK: u64 = 1 << 30;
/// Where manifests are.
pub const MANIFESTS: &str = "manifests/";
/// What the names of all chunks begin with.
pub const CHUNKS: &str = "chunks/";

/// One run's streams: a full of every dataset, or an increment of every dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Ed25519, in base64, over the bytes of the object without the line of this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The run that made it.
    pub run: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What it adds to; `None` for a full.
    pub parent: Option<Parent>,
    /// How many increments there are between it and the full: 0 for the full.
    pub depth: u32,
    /// The storage whose streams these are, for example `zfs`.
    pub storage: String,
    /// One for each dataset, in the order in which they must be received.
    pub streams: Vec<Stream>,
    /// Datasets that belong to the layout but whose content is not sent.
    pub left_out: Vec<LeftOut>,
    /// Files of the source that the copy needs and no snapshot holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileBeside>,
    /// What the stages of the run knew and those of a restore need, in their own words.
    pub facts: Facts,
}

/// The manifest before this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Its object.
    pub manifest: String,
    /// The SHA-256 of that object.
    #[serde(with = "hex")]
    pub sha256: Sha256,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The dataset on the source.
    pub dataset: String,
    /// Where it was mounted there.
    pub mountpoint: String,
    /// The snapshot's name without the dataset.
    pub snapshot: String,
    /// The snapshot's identity, in the storage's own terms.
    pub guid: String,
    /// Identity of the snapshot that the receiver must hold; `None` for a full.
    pub from_guid: Option<String>,
    /// Whether it is the chain's main dataset.
    pub main: bool,
    /// What was done to the stream before it was cut, the last one outermost.
    pub encodings: Vec<String>,
    /// Public keys of age to which each chunk is encrypted; none where they are not.
    pub recipients: Vec<String>,
    /// Bytes before they were cut and compressed.
    pub size: u64,
    /// SHA-256 of those bytes.
    #[serde(with = "hex")]
    pub sha256: Sha256,
    /// The pieces, in order.
    pub chunks: Vec<Chunk>,
}

/// One piece of a stream: an object that is a zstd frame of its own, within an age file of its own where
/// the stream has recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// The object.
    pub object: String,
    /// Bytes of the object.
    pub stored: u64,
    /// SHA-256 of the object.
    #[serde(with = "hex")]
    pub sha256: Sha256,
    /// Bytes of the stream that are in it.
    pub size: u64,
}

/// A file beside the streams, cut and compressed as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileBeside {
    /// Its name, without a directory.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of those bytes.
    #[serde(with = "hex")]
    pub sha256: Sha256,
    /// Public keys of age to which each chunk is encrypted; none if they are not.
    pub recipients: Vec<String>,
    /// The pieces, in order.
    pub chunks: Vec<Chunk>,
}

/// A dataset whose content stays behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The dataset on the source.
    pub dataset: String,
    /// Where it was mounted there.
    pub mountpoint: String,
}

/// What of a manifest is read whatever its version is.
#[derive(Deserialize)]
struct Preface {
    format: String,
    version: u32,
}

impl Manifest {
    /// The object's bytes: the same for the same manifest.
    ///
    /// # Errors
    /// When a fact can't be represented.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|e| Error::failed("a manifest can't be written").because(e))?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    /// What a signature is over: the object's bytes without one.
    ///
    /// # Errors
    /// When a fact can't be represented.
    pub fn unsigned(&self) -> Result<Bytes> {
        Self { signature: None, ..self.clone() }.to_bytes()
    }

    /// With the signature of this signer, where there is one.
    ///
    /// # Errors
    /// When a fact can't be represented.
    pub fn signed(mut self, signer: Option<&Signer>) -> Result<Self> {
        let bytes = self.unsigned()?;
        self.signature = signer.map(|signer| signer.sign(&bytes));
        Ok(self)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When it is no manifest, of a newer version, or not in itself right.
    pub fn read(key: &Key, bytes: &[u8]) -> Result<Self> {
        let preface: Preface = serde_json::from_slice(bytes).map_err(|e| altered(key).because(e))?;
        if preface.format != FORMAT {
            return Err(Error::failed(format!("{key} is no manifest of a staged repository"))
                .hint("see whether the address is that of a repository"));
        }
        if preface.version != VERSION {
            let text = format!("{key} has version {}, and this program reads version {VERSION}", preface.version);
            return Err(Error::failed(text).hint("use the release that wrote it, or a newer one"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| altered(key).because(e))?;
        manifest.is_right().map_err(|why| altered(key).because(why))?;
        Ok(manifest)
    }

    /// Whether these bytes are a manifest of another version than this program reads.
    pub(crate) fn is_of_another_version(bytes: &[u8]) -> bool {
        let preface = serde_json::from_slice::<Preface>(bytes);
        preface.is_ok_and(|preface| preface.format == FORMAT && preface.version != VERSION)
    }

    /// Judges what can be judged without looking at anything else.
    fn is_right(&self) -> Result<(), String> {
        if self.parent.is_some() != (self.depth > 0) {
            return Err("a full has no parent, and an increment has one".to_owned());
        }
        if self.streams.iter().filter(|stream| stream.main).count() != 1 {
            return Err("one dataset is the main one".to_owned());
        }
        let plain =
            |file: &&FileBeside| !file.name.is_empty() && !file.name.contains('/') && !file.name.starts_with('.');
        if !self.files.iter().all(|file| plain(&file)) {
            return Err("a file beside the streams has a name of its own".to_owned());
        }
        self.stored().iter().try_for_each(Stream::is_right)?;
        match self.streams.iter().any(|stream| self.depth == 0 && stream.from_guid.is_some()) {
            true => Err("a full stream starts from nothing".to_owned()),
            false => Ok(()),
        }
    }

    /// Everything that is stored: the streams, and the files beside them as streams of their names.
    pub fn stored(&self) -> Vec<Stream> {
        self.streams.iter().cloned().chain(self.files.iter().map(FileBeside::as_stream)).collect()
    }

    /// The stream of a dataset.
    pub fn of(&self, dataset: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.dataset == dataset)
    }
}

impl FileBeside {
    /// As what reads and verifies streams takes it.
    pub fn as_stream(&self) -> Stream {
        Stream {
            dataset: self.name.clone(),
            mountpoint: String::new(),
            snapshot: String::new(),
            guid: String::new(),
            from_guid: None,
            main: false,
            encodings: vec![],
            recipients: self.recipients.clone(),
            size: self.size,
            sha256: self.sha256,
            chunks: self.chunks.clone(),
        }
    }
}

impl Stream {
    fn is_right(&self) -> Result<(), String> {
        let size = self.chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.size));
        if size != Some(self.size) {
            return Err(format!("the chunks of {} are not as long as its stream", self.dataset));
        }
        let odd = |chunk: &&Chunk| !(1..=LARGEST_CHUNK).contains(&chunk.size) || Key::new(&*chunk.object).is_err();
        match self.chunks.iter().find(odd) {
            Some(chunk) => Err(format!("`{}` is no chunk", chunk.object.escape_debug())),
            None => Ok(()),
        }
    }
}

fn altered(key: &Key) -> Error {
    Error::failed(format!("{key} was altered, or is no manifest"))
}

/// The object of a chain's manifest at this depth.
///
/// # Errors
/// When the name is too long.
pub fn manifest_key(dataset: &str, root: &str, depth: u32) -> Result<Key> {
    Key::new(format!("{MANIFESTS}{}/{}/{depth:06}.json", safe(dataset), safe(root)))
}

/// What the names of all chunks of a run begin with.
pub fn chunks_of(run: &str) -> String {
    format!("{CHUNKS}{}/", safe(run))
}

/// The object of one chunk of one stream of a run.
///
/// # Errors
/// When the name is too long.
pub fn chunk_key(run: &str, stream: usize, chunk: usize) -> Result<Key> {
    Key::new(format!("{}{stream:03}/{chunk:08}.zst", chunks_of(run)))
}

/// The object of the same chunk, encrypted.
///
/// # Errors
/// When the name is too long.
pub fn encrypted(chunk: &Key) -> Result<Key> {
    Key::new(format!("{chunk}.age"))
}

/// Whether a chain, by its name, is that of a dataset.
pub fn is_of(chain: &str, dataset: &str) -> bool {
    chain.split_once('/').is_some_and(|(name, _)| name == safe(dataset))
}

/// Chain, root and depth of a manifest's object; `None` where it is no manifest's name.
pub fn position(key: &Key) -> Option<(String, u32)> {
    let (chain, file) = key.as_str().strip_prefix(MANIFESTS)?.rsplit_once('/')?;
    let depth = file.strip_suffix(".json").filter(|digits| digits.len() == 6)?;
    Some((chain.to_owned(), depth.parse().ok()?))
}

/// A name as one part of an object's name: whatever is not a letter, a digit, `.` or `-` becomes `_`
/// and two hex digits for each byte, so that two names never become one.
fn safe(name: &str) -> String {
    let keep = |at: usize, byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' && at > 0;
    let part = |(at, byte): (usize, u8)| match keep(at, byte) {
        true => char::from(byte).to_string(),
        false => format!("_{byte:02X}"),
    };
    name.bytes().enumerate().map(part).collect()
}

/// A hash as 64 hex digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::Sha256;

    pub(super) fn serialize<S: Serializer>(hash: &Sha256, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
        let text = String::deserialize(from)?;
        let digits =
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
        match digits {
            true => Ok(Sha256(std::array::from_fn(byte))),
            false => Err(D::Error::custom("a SHA-256 has 64 hex digits in small letters")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn manifest() -> Manifest {
        let chunk = |name: &str, size| Chunk { object: name.into(), stored: 3, sha256: Sha256::of(b"abc"), size };
        Manifest {
            format: FORMAT.into(),
            version: VERSION,
            signature: None,
            run: "20260101t000000-abcdef".into(),
            created: 1_767_225_600,
            parent: None,
            depth: 0,
            storage: "zfs".into(),
            streams: vec![Stream {
                dataset: "tank/pg".into(),
                mountpoint: "/pg".into(),
                snapshot: "reseed-1".into(),
                guid: "ff".into(),
                from_guid: None,
                main: true,
                encodings: vec![],
                recipients: vec![],
                size: 7,
                sha256: Sha256::of(b"plain"),
                chunks: vec![chunk("chunks/a/000/00000000.zst", 4), chunk("chunks/a/000/00000001.zst", 3)],
            }],
            left_out: vec![LeftOut { dataset: "tank/pg/wal".into(), mountpoint: "/pg/wal".into() }],
            files: vec![FileBeside {
                name: "000000010000000000000002".into(),
                size: 4,
                sha256: Sha256::of(b"file"),
                recipients: vec![],
                chunks: vec![chunk("chunks/a/001/00000000.zst", 4)],
            }],
            facts: Facts::default(),
        }
    }

    fn key() -> Key {
        manifest_key("tank/pg", "20260101t000000-abcdef", 0).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_byte_for_byte() {
        let bytes = manifest().to_bytes().unwrap();
        let read = Manifest::read(&key(), &bytes).unwrap();
        assert_eq!(read, manifest());
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn what_is_not_right_is_told_by_its_name() {
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut value = serde_json::to_value(manifest()).unwrap();
            change(&mut value);
            Manifest::read(&key(), &serde_json::to_vec(&value).unwrap()).unwrap_err().chain()
        };
        let newer = refused(&|value| value["version"] = 2.into());
        assert!(newer.contains("has version 2, and this program reads version 1"), "{newer}");
        assert!(refused(&|value| value["format"] = "x".into()).contains("is no manifest of a staged repository"));
        for change in [
            &|value: &mut Value| value["unknown"] = 1.into(),
            &|value| value["depth"] = 1.into(),
            &|value| value["streams"][0]["size"] = 8.into(),
            &|value| value["streams"][0]["main"] = false.into(),
            &|value| value["streams"][0]["from_guid"] = "aa".into(),
            &|value| value["files"][0]["name"] = "../pg_hba.conf".into(),
            &|value| value["files"][0]["size"] = 5.into(),
            &|value| value["streams"][0]["sha256"] = "00".into(),
            &|value| value["streams"][0]["chunks"][0]["object"] = "../etc/passwd".into(),
        ] as [&dyn Fn(&mut Value); 9]
        {
            let told = refused(change);
            assert!(told.contains(key().as_str()) && told.contains("was altered"), "{told}");
        }
    }

    #[test]
    fn names_of_objects_are_safe_and_never_meet() {
        assert_eq!(key().as_str(), "manifests/tank_2Fpg/20260101t000000-abcdef/000000.json");
        assert_eq!(position(&key()), Some(("tank_2Fpg/20260101t000000-abcdef".into(), 0)));
        assert_ne!(safe("a/b"), safe("a_2Fb"));
        assert_eq!(safe("../x"), "_2E._2Fx");
        for odd in ["manifests/a/b/1.json", "chunks/a/000/00000000.zst", "manifests/a/b/00000x.json"] {
            assert_eq!(position(&Key::new(odd).unwrap()), None, "{odd}");
        }
    }
}
