//! Streams that a real ZFS wrote, see `recorded/record`.

use proptest::prelude::*;

use super::super::{Broken, Reader};
use super::{assert_found, borders, read};

/// A recorded stream: its name, its bytes, and how many records of each type `zstream dump` counts.
struct Recorded {
    name: &'static str,
    packed: &'static [u8],
}

macro_rules! recorded {
    ($($name:literal),+) => {
        &[$(Recorded { name: $name, packed: include_bytes!(concat!("../recorded/", $name, ".zst")) }),+]
    };
}

const ALL: &[Recorded] = recorded![
    "zfs-fuse-full",
    "zfs-fuse-increment",
    "zfs-fuse-chain",
    "zfs-fuse-tree",
    "zfs-fuse-tree-chain",
    "zfs-fuse-properties"
];

impl Recorded {
    fn bytes(&self) -> Vec<u8> {
        zstd::decode_all(self.packed).unwrap()
    }
}

fn stream(name: &str) -> Vec<u8> {
    ALL.iter().find(|recorded| recorded.name == name).unwrap().bytes()
}

/// GUIDs of the snapshots 1, 2 and 3.
fn guids() -> [u64; 3] {
    let text = include_str!("../recorded/zfs-fuse-guids");
    let mut all = text.lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap());
    std::array::from_fn(|_| all.next().unwrap())
}

#[test]
fn what_zfs_wrote_is_read_in_any_pieces() {
    for recorded in ALL {
        let bytes = recorded.bytes();
        let whole = read(&bytes, usize::MAX).unwrap_or_else(|broken| panic!("{}: {broken}", recorded.name));
        for piece in [1, 100, 4096, 65_536] {
            assert_eq!(read(&bytes, piece).unwrap().seen().records, whole.seen().records, "{}", recorded.name);
        }
    }
}

#[test]
fn a_stream_knows_from_where_to_where_it_leads() {
    let [one, two, three] = guids();
    for (name, from, to) in [
        ("zfs-fuse-full", 0, one),
        ("zfs-fuse-increment", one, two),
        ("zfs-fuse-chain", one, three),
        ("zfs-fuse-tree", 0, three),
        ("zfs-fuse-tree-chain", one, three),
        ("zfs-fuse-properties", 0, one),
    ] {
        let reader = read(&stream(name), 10_000).unwrap();
        let seen = reader.seen();
        assert_eq!((seen.first().unwrap().from_guid, seen.to_guid), (from, Some(to)), "{name}");
    }
}

#[test]
fn cut_at_every_border_and_at_a_thousand_other_places_it_is_not_whole() {
    for recorded in ALL {
        let bytes = recorded.bytes();
        let scattered = (0..1000).map(|step| 1 + step * 7919 % (bytes.len() - 1));
        let at_borders = borders(&bytes).into_iter().skip(1).map(|border| border as usize);
        for length in scattered.chain(at_borders) {
            let mut reader = Reader::default();
            reader.push(&bytes[..length]).unwrap();
            let cut = reader.finish().unwrap_err();
            assert!(matches!(cut, Broken::Cut { offset, .. } if offset == length as u64), "{}: {cut}", recorded.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn one_flipped_bit_anywhere_is_found(which in 0..ALL.len(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        thread_local!(static STREAMS: Vec<Vec<u8>> = ALL.iter().map(Recorded::bytes).collect());
        STREAMS.with(|streams| {
            let mut altered = streams[which].clone();
            let at = at.index(altered.len());
            altered[at] ^= 1 << bit;
            assert_found(&altered, at, true);
        });
    }
}
