//! Streams that are built in code, a record of every type in each.

use super::super::record::{CHECKSUM, MAGIC};
use super::super::{Fletcher, HEAD, List, Order, Value};

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct Make {
    /// Numbers with the highest byte first.
    pub big: bool,
    /// As versions write it that give records no checksums.
    pub old: bool,
    /// In a compound stream.
    pub compound: bool,
    /// A compound stream of which the second dataset is missing.
    pub forgotten: bool,
    /// Length that the first block claims to have.
    pub length: Option<u64>,
}

/// Embedded blocks, compressed ones, by lz4.
const FEATURES: u64 = 1 << 16 | 1 << 17 | 1 << 22;

/// Object and offset of the blocks.
pub fn blocks() -> [(u64, u64); 2] {
    [(7, 0), (7, 131_072)]
}

impl Make {
    /// The bytes.
    pub fn stream(&self) -> Vec<u8> {
        let mut out = Out { bytes: vec![], sums: self.sums(), make: self.clone() };
        if !self.compound {
            out.plain(2, 1, "tank/pg@2");
            return out.bytes;
        }
        out.compound();
        out.plain(2, 1, "tank/pg@2");
        if !self.forgotten {
            out.plain(4, 3, "tank/pg/wal@2");
        }
        let mut end = [0; HEAD];
        end[..4].copy_from_slice(&self.u32(5));
        out.bytes.extend(end);
        out.bytes
    }

    /// What a sender writes that goes on in front of the second block: a BEGIN of its own, and then the
    /// same records as in the whole stream, their checksums counted from there.
    pub fn rest(&self) -> Vec<u8> {
        let mut out = Out { bytes: vec![], sums: self.sums(), make: self.clone() };
        let place = [("resume_object", blocks()[1].0), ("resume_offset", blocks()[1].1)];
        let list = List(place.map(|(name, number)| (name.to_owned(), Value::Number(number))).to_vec());
        out.begin((FEATURES | 1 << 20) << 2 | 1, 2, 1, "tank/pg@2", &list.packed());
        out.second_half(2);
        out.bytes
    }

    fn sums(&self) -> Fletcher {
        Fletcher::new(if self.big { Order::Big } else { Order::Little })
    }

    fn u32(&self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u64(&self, number: u64) -> [u8; 8] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }
}

struct Out {
    bytes: Vec<u8>,
    sums: Fletcher,
    make: Make,
}

impl Out {
    /// One record: its type, numbers of 64 and of 32 bits and single bytes at their places, its payload.
    fn record(
        &mut self,
        kind: u32,
        long: &[(usize, u64)],
        short: &[(usize, u32)],
        one: &[(usize, u8)],
        payload: &[u8],
    ) {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&self.make.u32(kind));
        long.iter().for_each(|(at, number)| head[*at..at + 8].copy_from_slice(&self.make.u64(*number)));
        short.iter().for_each(|(at, number)| head[*at..at + 4].copy_from_slice(&self.make.u32(*number)));
        one.iter().for_each(|(at, byte)| head[*at] = *byte);
        self.finish(head, kind != 0 && !self.make.old, payload);
    }

    fn finish(&mut self, mut head: [u8; HEAD], guarded: bool, payload: &[u8]) {
        self.sums.add(&head[..CHECKSUM]);
        if guarded {
            self.put(&mut head, CHECKSUM);
        }
        self.sums.add(&head[CHECKSUM..]);
        self.sums.add(payload);
        self.bytes.extend(head);
        self.bytes.extend(payload);
    }

    /// Writes the sums as they are into a head.
    fn put(&self, head: &mut [u8; HEAD], at: usize) {
        for (index, sum) in self.sums.sums().into_iter().enumerate() {
            head[at + 8 * index..][..8].copy_from_slice(&self.make.u64(sum));
        }
    }

    fn end(&mut self, to: u64, guarded: bool) {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&self.make.u32(5));
        self.put(&mut head, 8);
        head[40..48].copy_from_slice(&self.make.u64(to));
        self.finish(head, guarded, &[]);
        self.sums = self.make.sums();
    }

    fn begin(&mut self, version: u64, to: u64, from: u64, name: &str, payload: &[u8]) {
        let name: Vec<_> = name.bytes().enumerate().map(|(index, byte)| (56 + index, byte)).collect();
        let long = [(8, MAGIC), (16, version), (24, 1_700_000_000), (40, to), (48, from)];
        self.record(0, &long, &[(4, payload.len() as u32), (32, 2)], &name, payload);
    }

    /// The list of a compound stream, and its end.
    fn compound(&mut self) {
        let dataset = |name: &str, guid| {
            let snaps = List(vec![("1".into(), Value::Number(guid - 1)), ("2".into(), Value::Number(guid))]);
            Value::List(List(vec![("name".into(), Value::Text(name.into())), ("snaps".into(), Value::List(snaps))]))
        };
        let fss = List(vec![("0xa".into(), dataset("tank/pg", 2)), ("0xb".into(), dataset("tank/pg/wal", 4))]);
        let list = List(vec![("tosnap".into(), Value::Text("2".into())), ("fss".into(), Value::List(fss))]);
        self.begin(2, 0, 0, "tank/pg@2", &list.packed());
        self.end(0, false);
    }

    /// A stream with a record of every type.
    fn plain(&mut self, to: u64, from: u64, name: &str) {
        self.begin(FEATURES << 2 | 1, to, from, name, &[]);
        self.record(9, &[(8, 0), (16, 32), (24, to)], &[], &[], &[]);
        self.record(2, &[(8, 1), (16, 5), (24, to)], &[], &[], &[]);
        self.record(1, &[(8, 7), (40, to)], &[(16, 19), (20, 44), (28, 13)], &[], &[3; 16]);
        let (object, offset) = blocks()[0];
        let length = self.make.length.unwrap_or(1024);
        self.record(3, &[(8, object), (24, offset), (32, length), (40, to)], &[], &[], &[4; 1024]);
        self.second_half(to);
    }

    /// From the second block on.
    fn second_half(&mut self, to: u64) {
        // Compressed: 512 bytes that stand for 128 KiB.
        let long = [(8, 7), (24, blocks()[1].1), (32, 131_072), (40, to), (96, 512)];
        self.record(3, &long, &[], &[(50, 15)], &[5; 512]);
        self.record(4, &[(8, 7), (16, 262_144), (24, u64::MAX), (32, to)], &[], &[], &[]);
        self.record(6, &[(8, 8), (24, 4096), (32, to), (40, to)], &[], &[], &[]);
        self.record(7, &[(8, 8), (16, 512), (24, to)], &[], &[], &[6; 512]);
        self.record(8, &[(8, 9), (24, 512), (32, to)], &[(48, 512), (52, 21)], &[], &[7; 24]);
        self.record(10, &[(8, 9), (16, 512), (24, 512), (32, to)], &[], &[], &[]);
        self.end(to, !self.make.old);
    }
}
