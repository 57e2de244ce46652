//! The staged format: what a repository holds, field by field. See `docs/format.md`.
//!
//! - `manifests/CHAIN/ROOT/000000.json` is a full stream of every dataset of the chain,
//!   `000001.json` the first increment after it, and so on. `CHAIN` is the main dataset's name, `ROOT`
//!   the run that made the full.
//! - `chunks/UPLOAD/000/00000000-FRAME.zst` is the first piece of the first stream of an upload, `FRAME` the
//!   SHA-256 of its zstd frame; an upload has the name of the run that began it.
//! - `…-FRAME-OBJECT.zst.age` is the same, encrypted, `OBJECT` the SHA-256 of the object.
//! - `uploads/UPLOAD/000000.json` and the next numbers say what becomes of an upload, and
//!   `uploads/UPLOAD/kept/000/00000000.json` how one can go on behind a chunk, see [`crate::uploads`].
//!
//! A manifest is written last and only where there is none: without it the increment does not exist.

pub(crate) mod hex;
mod names;

use bytes::Bytes;
use reseed_core::item::{self, Facts, SnapshotPart};
use reseed_core::names::{shown, wrong_part};
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::seal::Signer;
use crate::store::{Key, Sha256};

pub(crate) use names::safe;
pub use names::{
    CHUNKS, ChunkName, MANIFESTS, UPLOADS, chunk_key, chunk_stem, chunks_of, encrypted, is_of, manifest_key, mark_key,
    marked_upload, marks_of, position, record_key, record_position, records_of,
};

/// What every manifest calls itself.
pub const FORMAT: &str = "reseed-staged";
/// The newest version that is read, and the one that is written.
pub const VERSION: u32 = 1;
/// The most bytes of a stream in one chunk: whoever reads one has it in memory as a whole.
pub const LARGEST_CHUNK: u64 = 1 << 30;

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
    /// Identities of snapshots between that one and this, which the same stream brings, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<String>,
    /// How its source made it, in the storage's own words, where that matters to what follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
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
    /// How the stream begins, in the storage's own words, where a receiver that was cut off can go on at some of
    /// its chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
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
    /// SHA-256 of the zstd frame within the age file; not there where there is none, as the frame is the
    /// object then. It says what comes out before the bytes go on, whoever wrote the age file.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex::option")]
    pub frame: Option<Sha256>,
    /// Bytes of the stream that are in it.
    pub size: u64,
    /// What is known in front of it, in the storage's own words, where a stream can be gone on with there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
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

impl LeftOut {
    /// As stages know it.
    pub(crate) fn item(&self) -> item::LeftOut {
        item::LeftOut { dataset: self.dataset.clone(), mountpoint: self.mountpoint.clone() }
    }
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
        check_preface(key, bytes, FORMAT)?;
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
    pub(crate) fn is_right(&self) -> Result<(), String> {
        self.names_are_right()?;
        if self.parent.is_some() != (self.depth > 0) {
            return Err("a full has no parent, and an increment has one".to_owned());
        }
        if self.streams.iter().filter(|stream| stream.main).count() != 1 {
            return Err("one dataset is the main one".to_owned());
        }
        let plain = |file: &&FileBeside| wrong_part(&file.name).is_none() && !file.name.starts_with('.');
        if !self.files.iter().all(|file| plain(&file)) {
            return Err("a file beside the streams has a name of its own".to_owned());
        }
        self.stored().iter().try_for_each(Stream::is_right)?;
        match self.streams.iter().any(|stream| self.depth == 0 && stream.from_guid.is_some()) {
            true => Err("a full stream starts from nothing".to_owned()),
            false => Ok(()),
        }
    }

    /// Names end up in commands and paths of the machine that restores.
    fn names_are_right(&self) -> Result<(), String> {
        let told = |error: Error| error.chain();
        if let Some(why) = wrong_part(&self.run) {
            return Err(format!("`{}` is no run: {why}", shown(&self.run)));
        }
        for stream in &self.streams {
            stream.part().check().map_err(told)?;
            let unnamed = stream.snapshot.is_empty() || stream.guid.is_empty();
            let mut guids = stream.from_guid.iter().chain(&stream.between);
            if unnamed || guids.any(|guid| wrong_part(guid).is_some()) {
                return Err(format!("a stream of {} has no snapshot of its own", stream.dataset));
            }
        }
        self.left_out.iter().try_for_each(|left| left.item().check().map_err(told))
    }

    /// Everything that is stored: the streams, and the files beside them as streams of their names.
    pub fn stored(&self) -> Vec<Stream> {
        self.streams.iter().cloned().chain(self.files.iter().map(FileBeside::as_stream)).collect()
    }

    /// The main dataset on the source.
    pub fn main(&self) -> &str {
        self.streams.iter().find(|stream| stream.main).map_or("", |stream| stream.dataset.as_str())
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
            between: vec![],
            made: None,
            main: false,
            encodings: vec![],
            recipients: self.recipients.clone(),
            size: self.size,
            sha256: self.sha256,
            head: None,
            chunks: self.chunks.clone(),
        }
    }
}

impl Stream {
    /// The snapshot at which a receiver arrives.
    pub fn part(&self) -> SnapshotPart {
        SnapshotPart {
            dataset: self.dataset.clone(),
            mountpoint: self.mountpoint.clone(),
            snapshot: self.snapshot.clone(),
            guid: self.guid.clone(),
            main: self.main,
        }
    }

    /// Whether one of its chunks has a name that begins so.
    pub(crate) fn has_chunk_below(&self, prefix: &str) -> bool {
        self.chunks.iter().any(|chunk| chunk.object.starts_with(prefix))
    }

    fn is_right(&self) -> Result<(), String> {
        let size = self.chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.size));
        if size != Some(self.size) {
            return Err(format!("the chunks of {} are not as long as its stream", self.dataset));
        }
        let odd = |chunk: &&Chunk| !(1..=LARGEST_CHUNK).contains(&chunk.size) || Key::new(&*chunk.object).is_err();
        if let Some(chunk) = self.chunks.iter().find(odd) {
            return Err(format!("`{}` is no chunk", chunk.object.escape_debug()));
        }
        match self.chunks.iter().find(|chunk| chunk.frame.is_some() == self.recipients.is_empty()) {
            Some(chunk) => Err(format!("what `{}` holds is said where it is encrypted, and only there", chunk.object)),
            None => Ok(()),
        }
    }
}

/// Refuses an object that is of another kind, or of another version.
pub(crate) fn check_preface(key: &Key, bytes: &[u8], format: &str) -> Result<()> {
    let preface: Preface = serde_json::from_slice(bytes).map_err(|e| altered(key).because(e))?;
    if preface.format != format {
        return Err(Error::failed(format!("{key} is no object of a staged repository"))
            .hint("see whether the address is that of a repository"));
    }
    if preface.version != VERSION {
        let text = format!("{key} has version {}, and this program reads version {VERSION}", preface.version);
        return Err(Error::failed(text).hint("use the release that wrote it, or a newer one"));
    }
    Ok(())
}

pub(crate) fn altered(key: &Key) -> Error {
    Error::failed(format!("{key} was altered, or is no manifest"))
}

#[cfg(test)]
mod tests;
