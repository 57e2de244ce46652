//! Resume tokens: what `zfs send -t` takes to go on with a stream in the middle.
//!
//! A token is `1-CHECKSUM-LENGTH-PAYLOAD`: the payload is a packed list, compressed by zlib and written in
//! hex; CHECKSUM is the first of the Fletcher-4 sums of the compressed bytes, LENGTH the length of the list
//! before compression, both in hex. `zfs receive` tells one as the property `receive_resume_token`; here one
//! is built from a stream alone. See `zfs_send_resume_token_to_nvlist` in OpenZFS
//! (`lib/libzfs/libzfs_sendrecv.c`) and `get_receive_resume_token_impl` (`module/zfs/dsl_dataset.c`).

use std::fmt;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::fletcher::{Fletcher, Order};
use super::nvlist::{List, Value};
use super::record::Begin;
use super::{Resumable, Seen};

/// No list of a token is longer: a name and a few numbers, and the snapshots that a stream is redacted for.
const LARGEST: u64 = 1 << 20;
const VERSION: &str = "1";
const LEVEL: u8 = 6;

/// Where a send goes on, and what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// GUID of what the increment starts from; `None` for a whole.
    pub from_guid: Option<u64>,
    /// GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// The snapshot, as the source calls it.
    pub name: String,
    /// Number of the object in which the send goes on.
    pub object: u64,
    /// Where in the object it goes on, in bytes.
    pub offset: u64,
    /// Bytes of the stream that were received; for estimates only.
    pub bytes: u64,
    /// Blocks larger than 128 KiB may be sent (`-L`).
    pub large_blocks: bool,
    /// Embedded blocks may be sent (`-e`).
    pub embedded: bool,
    /// Blocks are sent compressed as they are stored (`-c`).
    pub compressed: bool,
    /// Blocks are sent encrypted as they are stored (`-w`).
    pub raw: bool,
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoToken {
    /// It is written otherwise.
    #[error("it is no resume token of ZFS")]
    Foreign,
    /// It is of a version that is not known.
    #[error("it is a resume token of version {0}, and only version 1 is known")]
    Version(String),
    /// It is not what `zfs` said.
    #[error("the resume token was altered: its checksum is wrong")]
    Altered,
    /// What is in it does not tell where to go on.
    #[error("the resume token says not enough: {0} is missing")]
    Lacks(&'static str),
}

impl Token {
    /// The token by which the sender of a stream that was cut off goes on at the last place where it can;
    /// `None` before there is one, and for streams of several snapshots.
    pub fn of(seen: &Seen) -> Option<Self> {
        let begin = seen.begin.as_ref().filter(|begin| !begin.compound)?;
        Some(Self::at(begin, seen.resumable.as_ref()?))
    }

    /// The token by which the sender of a stream goes on at a place.
    pub fn at(begin: &Begin, place: &Resumable) -> Self {
        let has = |name| begin.features.has(name);
        Self {
            from_guid: (begin.from_guid != 0).then_some(begin.from_guid),
            to_guid: begin.to_guid,
            name: begin.name.clone(),
            object: place.block.object,
            offset: place.block.offset,
            bytes: place.border,
            large_blocks: has("large_blocks"),
            embedded: has("embed_data"),
            compressed: has("compressed"),
            raw: has("raw"),
        }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// When it is none, or not as it was made.
    pub fn read(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.trim().splitn(4, '-');
        let (Some(version), Some(checksum), Some(length), Some(payload)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken::Foreign);
        };
        if version != VERSION {
            let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
            return Err(if number { NoToken::Version(version.to_owned()) } else { NoToken::Foreign });
        }
        let number = |text| u64::from_str_radix(text, 16).map_err(|_| NoToken::Foreign);
        let (checksum, length) = (number(checksum)?, number(length)?);
        let packed = bytes(payload).ok_or(NoToken::Foreign)?;
        if sum(&packed) != checksum || length > LARGEST {
            return Err(NoToken::Altered);
        }
        let list = decompress_to_vec_zlib_with_limit(&packed, length as usize).map_err(|_| NoToken::Altered)?;
        Self::from_list(&List::read(&list).filter(|_| list.len() as u64 == length).ok_or(NoToken::Altered)?)
    }

    fn from_list(list: &List) -> Result<Self, NoToken> {
        let number = |name| list.number(name).ok_or(NoToken::Lacks(name));
        let flag = |name| list.get(name).is_some();
        Ok(Self {
            from_guid: list.number("fromguid"),
            to_guid: number("toguid")?,
            name: list.text("toname").ok_or(NoToken::Lacks("toname"))?.to_owned(),
            object: number("object")?,
            offset: number("offset")?,
            bytes: list.number("bytes").unwrap_or(0),
            large_blocks: flag("largeblockok"),
            embedded: flag("embedok"),
            compressed: flag("compressok"),
            raw: flag("rawok"),
        })
    }

    fn to_list(&self) -> List {
        let mut pairs = vec![];
        let mut add = |name: &str, value| pairs.push((name.to_owned(), value));
        if let Some(from_guid) = self.from_guid {
            add("fromguid", Value::Number(from_guid));
        }
        add("object", Value::Number(self.object));
        add("offset", Value::Number(self.offset));
        add("bytes", Value::Number(self.bytes));
        add("toguid", Value::Number(self.to_guid));
        add("toname", Value::Text(self.name.clone()));
        let flags = [
            ("largeblockok", self.large_blocks),
            ("embedok", self.embedded),
            ("compressok", self.compressed),
            ("rawok", self.raw),
        ];
        flags.into_iter().filter(|(_, set)| *set).for_each(|(name, _)| add(name, Value::Flag));
        List(pairs)
    }
}

/// As `zfs send -t` takes it.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.to_list().packed();
        let packed = compress_to_vec_zlib(&list, LEVEL);
        write!(f, "{VERSION}-{:x}-{:x}-", sum(&packed), list.len())?;
        packed.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first sum of the whole words.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = Fletcher::new(Order::Little);
    sums.add(bytes);
    sums.sums()[0]
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token {
            from_guid: Some(1),
            to_guid: u64::MAX,
            name: "tank/pg@reseed-1".into(),
            object: 128,
            offset: 1 << 40,
            bytes: 12_345,
            large_blocks: true,
            embedded: false,
            compressed: true,
            raw: false,
        }
    }

    #[test]
    fn what_is_built_is_read_again() {
        let whole = Token { from_guid: None, large_blocks: false, embedded: true, raw: true, ..token() };
        for token in [token(), whole] {
            assert_eq!(Token::read(&token.to_string()), Ok(token));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let text = token().to_string();
        for foreign in ["", "-", "1-2-3", "x-1-1-00", "1-1-1-0", "1-x-1-00"] {
            assert_eq!(Token::read(foreign), Err(NoToken::Foreign), "{foreign}");
        }
        assert_eq!(Token::read(&text.replacen('1', "2", 1)), Err(NoToken::Version("2".into())));
        let last = if text.ends_with('0') { "1" } else { "0" };
        // The last bytes may not fill a word: those in front of them count.
        let altered = format!("{}{last}{}", &text[..text.len() - 20], &text[text.len() - 19..]);
        assert!(altered == text || Token::read(&altered) == Err(NoToken::Altered));
        let empty = List::default().packed();
        let packed = compress_to_vec_zlib(&empty, LEVEL);
        let hex: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
        let empty = format!("1-{:x}-{:x}-{hex}", sum(&packed), empty.len());
        assert_eq!(Token::read(&empty), Err(NoToken::Lacks("toguid")));
    }

    proptest! {
        #[test]
        fn altered_tokens_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = token().to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Token::read(&String::from_utf8_lossy(&bytes));
        }
    }
}
