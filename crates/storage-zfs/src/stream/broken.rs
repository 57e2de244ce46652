//! Why a stream is none, or not whole, or not the one that was expected.

/// Why a stream is none, or not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It does not begin as one.
    #[error("this is no stream of ZFS: it begins with other bytes")]
    NoStream,
    /// The bytes are not the ones that were sent.
    #[error(
        "record {record}{} of the stream, at byte {offset}: the fletcher-4 checksum is wrong, \
         so something from byte {since} to byte {until} was altered", of(.name)
    )]
    Altered {
        /// Number of the record at which it was noticed, from 1.
        record: u64,
        /// Its type, where that is known.
        name: Option<&'static str>,
        /// Where its head begins, in bytes.
        offset: u64,
        /// The first byte that may be altered: all before it were proven right.
        since: u64,
        /// The last byte that may be altered.
        until: u64,
    },
    /// A record that can't be.
    #[error("record {record} of the stream, at byte {offset}: {what}")]
    Impossible {
        /// Its number, from 1.
        record: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The stream is of another snapshot, or an increment from another one.
    #[error("record {record} of the stream, at byte {offset}: {what}")]
    Other {
        /// Its number, from 1.
        record: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The end came too early.
    #[error("the stream was cut at byte {offset}, in or after record {record}: its own end did not come")]
    Cut {
        /// Where it ended, in bytes.
        offset: u64,
        /// How many records had begun.
        record: u64,
    },
    /// The end came, but not all that was promised.
    #[error("the stream ended at byte {offset}, with record {record}, without {what}, which its list promises")]
    Missing {
        /// Where it ended, in bytes.
        offset: u64,
        /// How many records there were.
        record: u64,
        /// The snapshots.
        what: String,
    },
    /// Something comes after the end.
    #[error("the stream goes on at byte {offset}, after its own end, which was record {record}")]
    Surplus {
        /// Where the end was, in bytes.
        offset: u64,
        /// How many records there were.
        record: u64,
    },
}

impl Broken {
    /// Number of the record at which it was noticed, from 1, and where that begins, in bytes. Where it
    /// ended for a stream that ended too early.
    pub fn place(&self) -> (u64, u64) {
        match self {
            Self::NoStream => (1, 0),
            Self::Altered { record, offset, .. }
            | Self::Impossible { record, offset, .. }
            | Self::Other { record, offset, .. }
            | Self::Cut { record, offset }
            | Self::Missing { record, offset, .. }
            | Self::Surplus { record, offset } => (*record, *offset),
        }
    }
}

fn of(name: &Option<&'static str>) -> String {
    name.map(|name| format!(" ({name})")).unwrap_or_default()
}
