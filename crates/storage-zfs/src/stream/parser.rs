//! Takes a stream apart as its bytes come, whatever pieces they come in, and proves its checksums.

use super::Resumable;
use super::broken::Broken;
use super::fletcher::{Fletcher, Order};
use super::nvlist::List;
use super::record::{BEGIN, Begin, Body, CHECKSUM, END, HEAD, Head, Look, NAMES, Record, is_possible};

/// Lists that are larger are proven as everything is, but not read.
const LARGEST_LIST_READ: u64 = 16 << 20;

/// What comes out of a stream, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'s> {
    /// A head, whose checksum is right.
    Record(&'s Record, &'s [u8; HEAD]),
    /// Bytes of the payload of the last record; proven right only by the next record.
    Payload(&'s [u8]),
    /// The list behind the last BEGIN, proven right.
    List(&'s List),
}

/// Where in the sequence of plain and compound streams a parser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Before everything.
    Start,
    /// In a stream that is all there is.
    Plain,
    /// In the list of a compound stream.
    List,
    /// In a compound stream, before one of its streams or its end.
    Between,
    /// In one of the streams of a compound one.
    Inner,
    /// Behind the end.
    Ended,
}

/// Takes one stream apart. It keeps no more of it than one head and one list.
#[derive(Debug)]
pub struct Parser {
    level: Level,
    order: Order,
    sums: Fletcher,
    /// What was read of a head.
    head: Vec<u8>,
    /// Bytes of payload that are still to come.
    left: u64,
    /// What was read of a list.
    list: Option<Vec<u8>>,
    /// Bytes that were pushed.
    offset: u64,
    /// Where the record begins that is being read, or the next one.
    begun: u64,
    /// Number of that record.
    number: u64,
    /// Everything in front of this byte was proven right.
    proven: u64,
    /// Whether the records of this stream have checksums.
    guarded: bool,
    to_guid: u64,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            level: Level::Start,
            order: Order::Little,
            sums: Fletcher::new(Order::Little),
            head: Vec::with_capacity(HEAD),
            left: 0,
            list: None,
            offset: 0,
            begun: 0,
            number: 1,
            proven: 0,
            guarded: false,
            to_guid: 0,
        }
    }
}

impl Parser {
    /// One that goes on at a place in a plain stream that begins with this head, and how that begins; `None` where
    /// it can't be gone on with.
    pub(super) fn behind(bytes: &[u8; HEAD], place: &Resumable) -> Option<(Self, Begin)> {
        let Look::Stream(order) = Look::at(bytes) else { return None };
        let Some((Body::Begin(begin), _)) = (Head { bytes, order }).read() else { return None };
        let (offset, begun, proven) = (place.border, place.border, place.border);
        let parser = Self {
            level: Level::Plain,
            order,
            sums: Fletcher::from(order, place.sums),
            offset,
            begun,
            number: place.number,
            proven,
            guarded: true,
            to_guid: begin.to_guid,
            ..Self::default()
        };
        (!begin.compound).then_some((parser, begin))
    }

    /// Takes the next bytes apart. After an error nothing more may be pushed.
    ///
    /// # Errors
    /// When they can't belong to a stream, or are not the ones that were sent.
    pub fn push(&mut self, mut bytes: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), Broken> {
        while !bytes.is_empty() {
            bytes = match (self.left, self.level) {
                (1.., _) => self.payload(bytes, on),
                (0, Level::Ended) => {
                    return Err(Broken::Surplus { offset: self.offset, record: self.number - 1 });
                }
                (0, _) => self.head(bytes, on)?,
            };
        }
        Ok(())
    }

    /// Judges the end of the bytes.
    ///
    /// # Errors
    /// When the stream's own end did not come.
    pub fn finish(&self) -> Result<(), Broken> {
        match self.level {
            Level::Ended => Ok(()),
            Level::Start if Look::at(&self.head) == Look::Other => Err(Broken::NoStream),
            _ => Err(Broken::Cut { offset: self.offset, record: self.number - u64::from(self.at_border()) }),
        }
    }

    /// Whether the last record is complete and nothing of the next one has come.
    fn at_border(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }

    /// Bytes that were pushed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the record begins, in bytes, that is being read or comes next: the last place at which the
    /// stream can be cut without cutting a record.
    pub fn border(&self) -> u64 {
        self.begun
    }

    /// Whether the records have checksums, as far as that was seen.
    pub(super) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Whether the stream's own end was seen.
    pub fn is_ended(&self) -> bool {
        self.level == Level::Ended
    }

    /// The order of the bytes in numbers, once the first record was seen.
    pub fn order(&self) -> Order {
        self.order
    }

    fn payload<'b>(&mut self, bytes: &'b [u8], on: &mut impl FnMut(Event<'_>)) -> &'b [u8] {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (taken, rest) = bytes.split_at(bytes.len().min(most));
        self.sums.add(taken);
        self.offset += taken.len() as u64;
        self.left -= taken.len() as u64;
        if let Some(list) = &mut self.list {
            list.extend_from_slice(taken);
        }
        on(Event::Payload(taken));
        if self.left == 0 {
            self.next();
        }
        rest
    }

    fn next(&mut self) {
        self.begun = self.offset;
        self.number += 1;
    }

    fn head<'b>(&mut self, bytes: &'b [u8], on: &mut impl FnMut(Event<'_>)) -> Result<&'b [u8], Broken> {
        if self.head.is_empty()
            && let Some((head, rest)) = bytes.split_first_chunk::<HEAD>()
        {
            self.offset += HEAD as u64;
            self.record(head, on)?;
            return Ok(rest);
        }
        let (taken, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(taken);
        self.offset += taken.len() as u64;
        if self.level == Level::Start && self.head.len() >= Look::ENOUGH {
            self.look(&self.head)?;
        }
        let mut head = std::mem::take(&mut self.head);
        if let Some(whole) = head.first_chunk::<HEAD>() {
            self.record(whole, on)?;
            head.clear();
        }
        self.head = head;
        Ok(rest)
    }

    /// The order of the bytes, if these begin a stream.
    fn look(&self, head: &[u8]) -> Result<Order, Broken> {
        match Look::at(head) {
            Look::Stream(order) => Ok(order),
            Look::Altered(_) => Err(self.impossible("it was altered: the mark of a stream is wrong")),
            Look::Other => Err(Broken::NoStream),
        }
    }

    /// A head that is complete.
    fn record(&mut self, bytes: &[u8; HEAD], on: &mut impl FnMut(Event<'_>)) -> Result<(), Broken> {
        if self.level == Level::Start {
            self.order = self.look(bytes)?;
            self.sums = Fletcher::new(self.order);
        }
        let head = Head { bytes, order: self.order };
        let before = self.sums.sums();
        self.prove(head, before)?;
        if let Some(packed) = self.list.take()
            && let Some(list) = List::read(&packed)
        {
            on(Event::List(&list));
        }
        let Some((body, payload)) = head.read() else {
            return Err(self.impossible(format!("no record has the type {}", head.kind())));
        };
        if !is_possible(&body, payload) {
            return Err(self.impossible(format!("its payload can't be {payload} bytes long")));
        }
        self.step(&body, head)?;
        self.left = payload;
        let keeps = matches!(body, Body::Begin(_)) && (1..=LARGEST_LIST_READ).contains(&payload);
        self.list = keeps.then(Vec::new);
        on(Event::Record(&Record { number: self.number, offset: self.begun, body, payload, before }, bytes));
        if payload == 0 {
            self.next();
        }
        Ok(())
    }

    /// Whether the checksums in a head are right, and so all that was in front of it.
    fn prove(&mut self, head: Head<'_>, before: [u64; 4]) -> Result<(), Broken> {
        let kind = head.kind() as usize;
        if self.level == Level::Between && kind == END {
            let zeros = head.bytes.iter().skip(4).all(|byte| *byte == 0);
            return if zeros {
                Ok(())
            } else {
                Err(self.impossible("the end of everything must be nothing but zeros"))
            };
        }
        self.sums.add(&head.bytes[..CHECKSUM]);
        let (told, found) = (head.checksum(), self.sums.sums());
        self.sums.add(&head.bytes[CHECKSUM..]);
        match kind {
            BEGIN => return Ok(()),
            END if head.ended() != before => return Err(self.altered(kind)),
            _ if told == found => self.guarded = true,
            // The END of a list, and of streams of old versions, has no checksum of its own.
            END if !self.guarded && head.is_bare_end() => {}
            END => return Err(self.altered(kind)),
            _ if !self.guarded && told == [0; 4] => return Ok(()),
            _ => return Err(self.altered(kind)),
        }
        self.proven = self.offset;
        Ok(())
    }

    fn altered(&self, kind: usize) -> Broken {
        Broken::Altered {
            record: self.number,
            name: NAMES.get(kind).copied(),
            offset: self.begun,
            since: self.proven,
            until: self.offset - 1,
        }
    }

    /// Whether a record may come here, and where it leads.
    fn step(&mut self, body: &Body, head: Head<'_>) -> Result<(), Broken> {
        let level = match (self.level, body) {
            (Level::Start, Body::Begin(begin)) if begin.compound => Level::List,
            (Level::Start, Body::Begin(_)) => Level::Plain,
            (Level::Between, Body::Begin(begin)) if !begin.compound => Level::Inner,
            (Level::List | Level::Inner, Body::End) => Level::Between,
            (Level::Between | Level::Plain, Body::End) => Level::Ended,
            (level @ (Level::Plain | Level::Inner), other) if !matches!(other, Body::Begin(_)) => level,
            _ => return Err(self.impossible(format!("{} is out of place", body.name()))),
        };
        match body {
            Body::Begin(begin) => {
                self.to_guid = begin.to_guid;
                self.guarded = false;
            }
            // Old versions leave it out.
            _ if ![0, self.to_guid].contains(&head.to_guid()) => {
                let text = format!("{} is of another snapshot, {:016x}", body.name(), head.to_guid());
                return Err(self.impossible(text));
            }
            Body::End => self.sums = Fletcher::new(self.order),
            _ => {}
        }
        self.level = level;
        Ok(())
    }

    fn impossible(&self, what: impl Into<String>) -> Broken {
        Broken::Impossible { record: self.number, offset: self.begun, what: what.into() }
    }
}
