//! What a stream is, and whether it is whole.

use super::broken::Broken;
use super::parser::{Event, Parser};
use super::promised::Promised;
use super::record::{Begin, Body, Extent, HEAD, NAMES, Record};

/// What a stream must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// GUID of the snapshot, as 16 hex digits.
    pub guid: String,
    /// GUID of what the increment starts from; `None` for a whole.
    pub from_guid: Option<String>,
    /// GUIDs of the snapshots between the two, oldest first. Where there are some it is a compound stream, which
    /// brings them too, but for those that were destroyed meanwhile.
    pub between: Vec<String>,
    /// Whether it goes on with one that was interrupted. `zfs send -t` begins at the beginning where nothing
    /// had arrived, so that it may; any other stream must not.
    pub rest: bool,
}

/// Reads one stream and judges it.
#[derive(Debug, Default)]
pub struct Reader {
    parser: Parser,
    seen: Seen,
    expected: Option<Expected>,
}

/// What was seen of a stream.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many records of each type, in the order of [`NAMES`].
    pub records: [u64; NAMES.len()],
    /// How it begins.
    pub begin: Option<Begin>,
    /// The head of its first record.
    pub(super) first: Option<Box<[u8; HEAD]>>,
    /// In a compound stream, how the first one in it begins.
    pub inner: Option<Begin>,
    /// GUID of the last snapshot of the first dataset.
    pub to_guid: Option<u64>,
    /// The last place at which a sender can go on: in front of this block.
    pub resumable: Option<Resumable>,
    /// The stream that is being read.
    current: Option<Begin>,
    promised: Promised,
}

/// A place in front of a block, at which an interrupted send can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumable {
    /// Bytes of the stream in front of it.
    pub border: u64,
    /// Number of the record behind it.
    pub number: u64,
    /// The checksum's sums of what is in front of it.
    pub sums: [u64; 4],
    /// The block.
    pub block: Extent,
}

impl Reader {
    /// A reader of a stream that must be this one.
    pub fn of(expected: Expected) -> Self {
        Self { expected: Some(expected), ..Self::default() }
    }

    /// A reader of what follows a place in a stream that begins with this head; `None` where none can.
    pub(super) fn behind(head: &[u8; HEAD], place: &Resumable) -> Option<Self> {
        let (parser, begin) = Parser::behind(head, place)?;
        let (to_guid, first) = (Some(begin.to_guid), Some(Box::new(*head)));
        let (current, begin) = (Some(begin.clone()), Some(begin));
        Some(Self { parser, seen: Seen { begin, first, to_guid, current, ..Seen::default() }, expected: None })
    }

    /// Reads the next bytes. After an error nothing more may be pushed.
    ///
    /// # Errors
    /// When they can't belong to a stream, were altered, or belong to another stream than expected.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let (seen, expected) = (&mut self.seen, self.expected.as_ref());
        let mut other = None;
        let pushed = self.parser.push(bytes, &mut |event| match event {
            Event::Record(record, head) => {
                if seen.first.is_none() {
                    seen.first = Some(Box::new(*head));
                }
                if let (Body::Begin(begin), Some(expected), None) = (&record.body, expected, &other) {
                    other = expected.differs(begin, seen).map(|what| (record.number, record.offset, what));
                }
                seen.note(record);
            }
            Event::List(list) => seen.promise(list),
            Event::Payload(_) => {}
        });
        match other {
            Some((record, offset, what)) => Err(Broken::Other { record, offset, what }),
            None => pushed,
        }
    }

    /// Judges the end of the bytes.
    ///
    /// # Errors
    /// When the stream's own end did not come, or less came than was promised.
    pub fn finish(&self) -> Result<(), Broken> {
        self.parser.finish()?;
        let last =
            self.expected.as_ref().filter(|expected| self.seen.to_guid.map(hex).as_ref() != Some(&expected.guid));
        match self.seen.promised.missing().or_else(|| last.map(|expected| format!("the snapshot {}", expected.guid))) {
            None => Ok(()),
            Some(what) => Err(Broken::Missing { offset: self.parser.offset(), record: self.seen.count(), what }),
        }
    }

    /// The parser, which knows where in the stream this is.
    pub fn parser(&self) -> &Parser {
        &self.parser
    }

    /// What was seen.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Seen {
    fn note(&mut self, record: &Record) {
        self.records[record.body.kind()] += 1;
        match &record.body {
            Body::Begin(begin) => self.begin(begin),
            Body::End => self.end(),
            Body::Write(block) if self.begin.as_ref().is_some_and(|begin| !begin.compound) => {
                let Record { offset: border, number, before: sums, .. } = *record;
                self.resumable = Some(Resumable { border, number, sums, block: *block });
            }
            _ => {}
        }
    }

    fn begin(&mut self, begin: &Begin) {
        if self.begin.is_none() {
            self.begin = Some(begin.clone());
        } else if self.inner.is_none() {
            self.inner = Some(begin.clone());
        }
        self.current = Some(begin.clone()).filter(|begin| !begin.compound);
        if self.current.is_some() && self.first().is_some_and(|first| first.dataset() == begin.dataset()) {
            self.to_guid = Some(begin.to_guid);
        }
    }

    fn end(&mut self) {
        if let Some(begin) = self.current.take() {
            self.promised.came(begin.to_guid);
        }
    }

    /// The first stream that is no list.
    pub fn first(&self) -> Option<&Begin> {
        self.inner.as_ref().or_else(|| self.begin.as_ref().filter(|begin| !begin.compound))
    }

    fn promise(&mut self, list: &super::nvlist::List) {
        // Behind the BEGIN of a plain stream are properties of that stream alone.
        if self.current.is_none() {
            self.promised = Promised::by(list);
        }
    }

    fn count(&self) -> u64 {
        self.records.iter().sum()
    }
}

impl Begin {
    /// The name without the snapshot's.
    fn dataset(&self) -> &str {
        self.name.split('@').next().unwrap_or_default()
    }
}

impl Expected {
    /// How a stream that begins so, behind what was seen, differs from what is expected, in words.
    pub(super) fn differs(&self, begin: &Begin, seen: &Seen) -> Option<String> {
        match (begin.compound, self.between.is_empty()) {
            (true, true) => return Some("it is a stream of several snapshots, and one was expected".to_owned()),
            (false, false) if seen.begin.is_none() => {
                return Some("it is a stream of one snapshot, and several were expected".to_owned());
            }
            // What it brings is judged stream by stream.
            (true, false) => return None,
            _ => {}
        }
        let (guid, from) = (hex(begin.to_guid), some(begin.from_guid).map(hex));
        if guid != self.guid && !self.between.contains(&guid) {
            return Some(format!("it sends {} ({guid}) and not {}", begin.name, self.guid));
        }
        if begin.features.has("resuming") && !self.rest {
            return Some(
                "it is the rest of an interrupted stream, and a stream from its beginning was expected".to_owned(),
            );
        }
        let words = |from: &Option<String>| match from {
            Some(from) => format!("an increment from {from}"),
            None => "a whole".to_owned(),
        };
        // Of several each goes on where the one before it ended.
        let start = seen.to_guid.map(hex).or_else(|| self.from_guid.clone());
        (from != start).then(|| format!("it is {} and not {}", words(&from), words(&start)))
    }
}

/// A GUID as it is written everywhere.
pub(super) fn hex(guid: u64) -> String {
    format!("{guid:016x}")
}

/// A GUID that is one.
pub(super) fn some(guid: u64) -> Option<u64> {
    (guid != 0).then_some(guid)
}
