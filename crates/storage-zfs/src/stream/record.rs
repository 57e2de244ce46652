//! What the head of a record says.

use super::fletcher::Order;

/// Bytes of a head.
pub const HEAD: usize = 312;
/// Where the checksum of a record stands in its head. It covers what is in front of it.
pub(super) const CHECKSUM: usize = HEAD - 32;
/// With which a BEGIN begins, behind type and length.
pub(super) const MAGIC: u64 = 0x2_f5ba_cbac;
/// No block, and so no payload, is larger (`SPA_MAXBLOCKSIZE`).
const LARGEST_PAYLOAD: u64 = 16 << 20;
/// No list behind a BEGIN is larger: as much as `zfs receive` takes.
const LARGEST_LIST: u64 = 64 << 20;

/// Names of the types, by their number; those that `zstream dump` uses.
pub const NAMES: [&str; 11] = [
    "BEGIN",
    "OBJECT",
    "FREEOBJECTS",
    "WRITE",
    "FREE",
    "END",
    "WRITE_BYREF",
    "SPILL",
    "WRITE_EMBEDDED",
    "OBJECT_RANGE",
    "REDACT",
];

pub(super) const BEGIN: usize = 0;
pub(super) const END: usize = 5;

/// What a stream needs of its receiver, as bits of a BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u64);

impl Features {
    /// By the name of each bit; those without a name are reserved, or newer than this program.
    const NAMES: [(u32, &'static str); 16] = [
        (0, "dedup"),
        (1, "dedup_props"),
        (2, "sa_spill"),
        (16, "embed_data"),
        (17, "lz4"),
        (19, "large_blocks"),
        (20, "resuming"),
        (21, "redacted"),
        (22, "compressed"),
        (23, "large_dnode"),
        (24, "raw"),
        (25, "zstd"),
        (26, "holds"),
        (27, "switch_to_large_blocks"),
        (28, "longname"),
        (29, "large_microzap"),
    ];

    /// Whether it has the feature of this name.
    pub fn has(self, name: &str) -> bool {
        Self::NAMES.iter().any(|(bit, known)| *known == name && self.0 >> bit & 1 == 1)
    }

    /// The names, `bit-N` for one that has none.
    pub fn names(self) -> Vec<String> {
        let name = |bit: u32| match Self::NAMES.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("bit-{bit}"),
        };
        (0..62).filter(|bit| self.0 >> bit & 1 == 1).map(name).collect()
    }
}

/// What a stream, or one of a compound stream, says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Whether plain streams follow, and this one is only the list of them.
    pub compound: bool,
    /// What a receiver must know.
    pub features: Features,
    /// When the snapshot was taken, in seconds since 1970.
    pub created: u64,
    /// GUID of the snapshot that is sent; 0 in a compound stream.
    pub to_guid: u64,
    /// GUID of what the increment starts from; 0 for a whole, or in a compound stream.
    pub from_guid: u64,
    /// Dataset and snapshot, as they are called on the source.
    pub name: String,
}

/// What a record does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Begins a stream.
    Begin(Begin),
    /// Makes an object, or changes what it is.
    Object {
        /// Its number.
        object: u64,
    },
    /// Objects that are not there.
    FreeObjects {
        /// The first of them.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A block, in the payload.
    Write(Extent),
    /// A hole.
    Free(Extent),
    /// Ends a stream.
    End,
    /// A block that is like an earlier one.
    WriteByref(Extent),
    /// More attributes of an object, in the payload.
    Spill {
        /// Its number.
        object: u64,
    },
    /// A block that is so small that it lies in its pointer; in the payload.
    WriteEmbedded(Extent),
    /// Encrypted objects that follow.
    ObjectRange {
        /// The first of them.
        first: u64,
        /// How many places for objects.
        count: u64,
    },
    /// Data that is left out on purpose.
    Redact(Extent),
}

/// A piece of an object, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the object.
    pub object: u64,
    /// Where it begins in the object.
    pub offset: u64,
    /// How long it is in the object; not the length of the payload.
    pub length: u64,
}

/// A record whose head is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in the stream, from 1.
    pub number: u64,
    /// Where its head begins in the stream, in bytes.
    pub offset: u64,
    /// What it does.
    pub body: Body,
    /// Bytes of its payload.
    pub payload: u64,
    /// The checksum's sums of all that was in front of it, since the last END.
    pub before: [u64; 4],
}

impl Body {
    /// The name of its type.
    pub fn name(&self) -> &'static str {
        NAMES[self.kind()]
    }

    pub(super) fn kind(&self) -> usize {
        match self {
            Self::Begin(_) => BEGIN,
            Self::Object { .. } => 1,
            Self::FreeObjects { .. } => 2,
            Self::Write(_) => 3,
            Self::Free(_) => 4,
            Self::End => END,
            Self::WriteByref(_) => 6,
            Self::Spill { .. } => 7,
            Self::WriteEmbedded(_) => 8,
            Self::ObjectRange { .. } => 9,
            Self::Redact(_) => 10,
        }
    }
}

/// The bytes of a head, and their order.
#[derive(Clone, Copy)]
pub(super) struct Head<'b> {
    pub bytes: &'b [u8; HEAD],
    pub order: Order,
}

impl Head<'_> {
    pub fn kind(self) -> u32 {
        self.u32(0)
    }

    /// The checksum that is written at the end of the head; of nothing in a BEGIN.
    pub fn checksum(self) -> [u64; 4] {
        self.sums(CHECKSUM)
    }

    /// The checksum that an END repeats.
    pub fn ended(self) -> [u64; 4] {
        self.sums(8)
    }

    /// Whether an END says nothing but the checksum that it repeats and the snapshot's GUID.
    pub fn is_bare_end(self) -> bool {
        self.bytes[4..8].iter().chain(&self.bytes[48..]).all(|byte| *byte == 0)
    }

    /// GUID of the snapshot that the record belongs to; old versions leave it out.
    pub fn to_guid(self) -> u64 {
        match self.kind() as usize {
            BEGIN | 1 | 3 | END => self.u64(40),
            2 | 7 | 9 => self.u64(24),
            _ => self.u64(32),
        }
    }

    /// What the head says and how long the payload is; `None` for a type that is not known.
    pub fn read(self) -> Option<(Body, u64)> {
        let object = self.u64(8);
        let extent = |at: usize| Extent { object, offset: self.u64(at), length: self.u64(at + 8) };
        Some(match self.kind() as usize {
            BEGIN => (Body::Begin(self.begin()), u64::from(self.u32(4))),
            1 => (Body::Object { object }, self.bonus()),
            2 => (Body::FreeObjects { first: object, count: self.u64(16) }, 0),
            3 => (Body::Write(extent(24)), if self.bytes[50] == 0 { self.u64(32) } else { self.u64(96) }),
            4 => (Body::Free(extent(16)), 0),
            END => (Body::End, 0),
            6 => (Body::WriteByref(extent(16)), 0),
            7 => (Body::Spill { object }, if self.u64(40) == 0 { self.u64(16) } else { self.u64(40) }),
            8 => (Body::WriteEmbedded(extent(16)), u64::from(self.u32(52)).next_multiple_of(8)),
            9 => (Body::ObjectRange { first: object, count: self.u64(16) }, 0),
            10 => (Body::Redact(extent(16)), 0),
            _ => return None,
        })
    }

    /// What is stored beside an object, encrypted or not.
    fn bonus(self) -> u64 {
        match self.u32(36) {
            0 => u64::from(self.u32(28)).next_multiple_of(8),
            raw => u64::from(raw),
        }
    }

    fn begin(self) -> Begin {
        let version = self.u64(16);
        let name = self.bytes[56..].split(|byte| *byte == 0).next().unwrap_or_default();
        Begin {
            compound: version & 3 == 2,
            features: Features(version >> 2 & ((1 << 54) - 1)),
            created: self.u64(24),
            to_guid: self.u64(40),
            from_guid: self.u64(48),
            name: String::from_utf8_lossy(name).into_owned(),
        }
    }

    fn sums(self, at: usize) -> [u64; 4] {
        [0, 8, 16, 24].map(|word| self.u64(at + word))
    }

    fn u32(self, at: usize) -> u32 {
        self.order.u32(std::array::from_fn(|byte| self.bytes[at + byte]))
    }

    fn u64(self, at: usize) -> u64 {
        self.order.u64(std::array::from_fn(|byte| self.bytes[at + byte]))
    }
}

/// Whether a payload can be this long.
pub(super) fn is_possible(body: &Body, payload: u64) -> bool {
    let largest = if matches!(body, Body::Begin(_)) { LARGEST_LIST } else { LARGEST_PAYLOAD };
    payload <= largest && payload.is_multiple_of(4)
}

/// How these bytes, of which there may be fewer than a head, look as the beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As one of this order.
    Stream(Order),
    /// As one of which some bits were altered.
    Altered(Order),
    /// As something else.
    Other,
}

/// Bits that may differ from the magic in what is still taken for a stream that was altered.
const ALTERED_BITS: u32 = 3;

impl Look {
    /// Bytes from which it is certain.
    pub const ENOUGH: usize = 16;

    /// Looks at the first bytes. Of fewer than 16, whether they can become a stream.
    pub fn at(bytes: &[u8]) -> Self {
        let of = |order: Order| {
            let magic = match order {
                Order::Little => MAGIC.to_le_bytes(),
                Order::Big => MAGIC.to_be_bytes(),
            };
            let differ = |bytes: &[u8], known: &[u8]| {
                bytes.iter().zip(known).map(|(byte, known)| (byte ^ known).count_ones()).sum::<u32>()
            };
            differ(bytes, &[0; 4]) + differ(bytes.get(8..).unwrap_or_default(), &magic)
        };
        let (order, bits) = match (of(Order::Little), of(Order::Big)) {
            (little, big) if little <= big => (Order::Little, little),
            (_, big) => (Order::Big, big),
        };
        match bits {
            0 => Self::Stream(order),
            1..=ALTERED_BITS if bytes.len() >= Self::ENOUGH => Self::Altered(order),
            _ => Self::Other,
        }
    }
}
