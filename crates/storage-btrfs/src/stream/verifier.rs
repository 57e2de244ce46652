//! Judges a stream as its bytes come, whatever pieces they come in.

use std::collections::BTreeMap;

use super::attributes::{CLONE_UUID, PATH, SIZE, UUID, uuid, value};

pub(super) const MAGIC: &[u8; 13] = b"btrfs-stream\0";
const HEADER: usize = MAGIC.len() + 4;
const HEAD: usize = 10;
/// More than any `btrfs` writes as one command: 64 KiB by version 1, 144 KiB by later ones.
const LONGEST: usize = 16 << 20;

/// Versions of the format that are read.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=3;

const SUBVOL: u16 = 1;
const SNAPSHOT: u16 = 2;
const END: u16 = 21;
/// Tells which bytes of a file have changed, in a stream that was asked to carry none.
const UPDATE_EXTENT: u16 = 22;

/// What a stream must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The version of the format, from 1 to 3. Nothing in a stream guards it.
    pub version: u32,
    /// The name of the snapshot.
    pub name: String,
    /// Identity of the snapshot.
    pub uuid: String,
    /// Identity of what the increment starts from; `None` for a whole.
    pub base: Option<String>,
}

/// What was seen of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The version of the format.
    pub version: u32,
    /// The name of the snapshot.
    pub name: Option<String>,
    /// Identity of the snapshot.
    pub uuid: Option<String>,
    /// Identity of what the increment starts from; `None` for a whole.
    pub base: Option<String>,
    /// How many commands of each type, by the number of the type.
    pub commands: BTreeMap<u16, u64>,
    /// Bytes of file data that it tells of and does not carry, as `btrfs send --no-data` does.
    pub not_carried: u64,
}

/// Why a stream is none, or not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It does not begin as one.
    #[error("this is no stream of btrfs: it begins with other bytes")]
    NoStream,
    /// It is of another version than what was asked for.
    #[error("the stream says that it is of version {found}, and version {expected} was asked for")]
    Version {
        /// What it says.
        found: u32,
        /// What was asked for.
        expected: u32,
    },
    /// It is of a version that is not known.
    #[error("the stream says that it is of version {found}, and only versions 1 to 3 are known")]
    Unknown {
        /// What it says.
        found: u32,
    },
    /// A command's length can't be right.
    #[error("command {command} of the stream, at byte {offset}, says that it is {length} bytes long")]
    Length {
        /// Its number, from 1.
        command: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What it says.
        length: usize,
    },
    /// A command is not what was written.
    #[error("command {command} of the stream, at byte {offset}, was altered: its CRC32C is wrong")]
    Altered {
        /// Its number, from 1.
        command: u64,
        /// Where it begins, in bytes.
        offset: u64,
    },
    /// The stream is of another subvolume, or an increment from another one.
    #[error("command {command} of the stream, at byte {offset}: {what}")]
    Other {
        /// Its number, from 1.
        command: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The end came too early.
    #[error("the stream was cut at byte {offset}, in or after command {command}: its own end did not come")]
    Cut {
        /// Where it ended, in bytes.
        offset: u64,
        /// How many commands had begun.
        command: u64,
    },
    /// Something comes after the end.
    #[error("the stream goes on at byte {offset}, after its own end")]
    Surplus {
        /// Where the end was, in bytes.
        offset: u64,
    },
}

#[derive(Debug)]
enum State {
    Header,
    Head,
    Payload { kind: u16, left: usize, crc: u32, wanted: u32 },
    Ended,
}

/// Judges one stream. It keeps no more of it than a command that says what the stream is.
#[derive(Debug)]
pub struct Verifier {
    /// What it must be; anything where that is not known.
    expected: Option<Expected>,
    seen: Seen,
    state: State,
    kept: Vec<u8>,
    /// Bytes that have been judged or kept.
    offset: u64,
    /// Where the command began that is being read.
    begun: u64,
    command: u64,
}

impl Verifier {
    /// A judge of a stream that has not begun and must be this one.
    pub fn new(expected: Expected) -> Self {
        Self { expected: Some(expected), ..Self::any() }
    }

    /// A judge of whatever stream comes.
    pub fn any() -> Self {
        let (state, seen) = (State::Header, Seen::default());
        Self { expected: None, seen, state, kept: Vec::new(), offset: 0, begun: 0, command: 0 }
    }

    /// What was seen so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// How many commands have begun.
    pub fn command(&self) -> u64 {
        self.command
    }

    /// Bytes that were pushed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the command begins, in bytes, that is being read or comes next.
    pub fn border(&self) -> u64 {
        self.begun
    }

    /// Judges the next bytes. After an error nothing more may be pushed.
    ///
    /// # Errors
    /// When they can't belong to the stream that is expected.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Header => self.header(bytes)?,
                State::Head => self.head(bytes)?,
                State::Payload { .. } => self.payload(bytes)?,
                State::Ended => return Err(Broken::Surplus { offset: self.offset }),
            };
        }
        Ok(())
    }

    /// Judges the end of the bytes.
    ///
    /// # Errors
    /// Unless the stream's own end has come.
    pub fn finish(&self) -> Result<(), Broken> {
        match self.state {
            State::Ended => Ok(()),
            _ => Err(Broken::Cut { offset: self.offset, command: self.command }),
        }
    }

    /// Keeps bytes until there are so many; gives the rest, and whether there are.
    fn keep<'b>(&mut self, bytes: &'b [u8], wanted: usize) -> (&'b [u8], bool) {
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.kept.len()));
        self.kept.extend_from_slice(taken);
        self.offset += taken.len() as u64;
        (rest, self.kept.len() == wanted)
    }

    fn header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Broken> {
        let (rest, whole) = self.keep(bytes, HEADER);
        let known = self.kept.len().min(MAGIC.len());
        if self.kept[..known] != MAGIC[..known] {
            return Err(Broken::NoStream);
        }
        if whole {
            let found = number(&self.kept[MAGIC.len()..]);
            match self.expected.as_ref().map(|expected| expected.version) {
                Some(expected) if found != expected => return Err(Broken::Version { found, expected }),
                None if !VERSIONS.contains(&found) => return Err(Broken::Unknown { found }),
                _ => self.seen.version = found,
            }
            self.next();
        }
        Ok(rest)
    }

    fn next(&mut self) {
        self.kept.clear();
        self.begun = self.offset;
        self.state = State::Head;
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Broken> {
        if self.kept.is_empty() {
            self.command += 1;
        }
        let (rest, whole) = self.keep(bytes, HEAD);
        if !whole {
            return Ok(rest);
        }
        let length = number(&self.kept) as usize;
        let kind = u16::from_le_bytes([self.kept[4], self.kept[5]]);
        let wanted = number(&self.kept[6..]);
        if length > LONGEST {
            return Err(Broken::Length { command: self.command, offset: self.begun, length });
        }
        self.kept[6..].fill(0);
        let crc = crc(0, &self.kept);
        self.kept.clear();
        self.state = State::Payload { kind, left: length, crc, wanted };
        // A command without a payload is complete already.
        if length == 0 { self.payload(rest) } else { Ok(rest) }
    }

    fn payload<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Broken> {
        let State::Payload { kind, left, crc: so_far, wanted } = self.state else { return Ok(bytes) };
        let (taken, rest) = bytes.split_at(bytes.len().min(left));
        let so_far = crc(so_far, taken);
        self.offset += taken.len() as u64;
        if matches!(kind, SUBVOL | SNAPSHOT | UPDATE_EXTENT) {
            self.kept.extend_from_slice(taken);
        }
        let left = left - taken.len();
        self.state = State::Payload { kind, left, crc: so_far, wanted };
        if left == 0 {
            if so_far != wanted {
                return Err(Broken::Altered { command: self.command, offset: self.begun });
            }
            self.complete(kind)?;
        }
        Ok(rest)
    }

    /// A command whose bytes are right.
    fn complete(&mut self, kind: u16) -> Result<(), Broken> {
        *self.seen.commands.entry(kind).or_default() += 1;
        match (kind, self.command) {
            (SUBVOL | SNAPSHOT, 1) => self.identify(kind)?,
            (SUBVOL | SNAPSHOT, _) => return Err(self.other("a second subvolume begins".to_owned())),
            (_, 1) => return Err(self.other("it does not say what is sent".to_owned())),
            (UPDATE_EXTENT, _) => {
                let size = value(&self.kept, SIZE).and_then(|size| size.try_into().ok()).map(u64::from_le_bytes);
                self.seen.not_carried = self.seen.not_carried.saturating_add(size.unwrap_or_default());
            }
            _ => {}
        }
        self.next();
        if kind == END {
            self.state = State::Ended;
        }
        Ok(())
    }

    /// Whether the first command speaks of what is expected.
    fn identify(&mut self, kind: u16) -> Result<(), Broken> {
        let told = |attribute| value(&self.kept, attribute).and_then(uuid);
        self.seen.uuid = told(UUID);
        self.seen.base = if kind == SNAPSHOT { told(CLONE_UUID) } else { None };
        self.seen.name = value(&self.kept, PATH).map(|name| String::from_utf8_lossy(name).into_owned());
        let Some(Expected { name, uuid: expected, base, .. }) = &self.expected else { return Ok(()) };
        let Seen { uuid: found, base: from, name: called, .. } = &self.seen;
        if found.as_ref() != Some(expected) || called.as_ref() != Some(name) {
            let found = found.as_deref().unwrap_or("nothing");
            return Err(self.other(format!("it sends {found} and not {name} ({expected})")));
        }
        if (kind == SNAPSHOT) != base.is_some() || from != base {
            let words = |base: &Option<String>| match base {
                Some(base) => format!("an increment from {base}"),
                None => "a whole".to_owned(),
            };
            return Err(self.other(format!("it is {} and not {}", words(from), words(base))));
        }
        Ok(())
    }

    fn other(&self, what: String) -> Broken {
        Broken::Other { command: self.command, offset: self.begun, what }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// As btrfs has it: a CRC32C that begins at 0 and is not inverted at either end.
fn crc(so_far: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!so_far, bytes)
}
