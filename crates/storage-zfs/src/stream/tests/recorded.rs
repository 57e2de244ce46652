//! Streams that a real ZFS wrote, see `recorded/record`.

use proptest::prelude::*;

use super::super::reader::hex;
use super::super::token::Token;
use super::super::{Broken, Expected, NAMES, Reader};
use super::{assert_found, borders, read};

/// A recorded stream: its name, its bytes, and what `zstream dump` counts in it.
struct Recorded {
    name: &'static str,
    packed: &'static [u8],
    dump: &'static str,
}

macro_rules! recorded {
    ($($name:literal),+) => {
        &[$(Recorded {
            name: $name,
            packed: include_bytes!(concat!("../recorded/", $name, ".zst")),
            dump: include_str!(concat!("../recorded/", $name, ".dump")),
        }),+]
    };
}

const ALL: &[Recorded] = recorded![
    "zfs-fuse-full",
    "zfs-fuse-increment",
    "zfs-fuse-chain",
    "zfs-fuse-tree",
    "zfs-fuse-tree-chain",
    "openzfs-2.4-full",
    "openzfs-2.4-increment",
    "openzfs-2.4-chain",
    "openzfs-2.4-tree",
    "openzfs-2.4-tree-chain",
    "openzfs-2.4-properties",
    "openzfs-2.4-compressed",
    "openzfs-2.4-embedded",
    "openzfs-2.4-large",
    "openzfs-2.4-all-flags",
    "openzfs-2.4-raw",
    "openzfs-2.4-raw-increment",
    "openzfs-2.4-redacted"
];

/// Those of at most some hundred kilobytes, for what is done to them very often.
fn small() -> impl Iterator<Item = Vec<u8>> {
    ALL.iter().map(Recorded::bytes).filter(|bytes| bytes.len() < 200_000)
}

impl Recorded {
    fn bytes(&self) -> Vec<u8> {
        zstd::decode_all(self.packed).unwrap()
    }
}

pub(super) fn stream(name: &str) -> Vec<u8> {
    ALL.iter().find(|recorded| recorded.name == name).unwrap().bytes()
}

/// GUIDs of the snapshots 1, 2 and 3.
fn guids(text: &str) -> [u64; 3] {
    let mut all = text.lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap());
    std::array::from_fn(|_| all.next().unwrap())
}

#[test]
fn records_are_counted_as_zstream_counts_them() {
    for recorded in ALL {
        let bytes = recorded.bytes();
        let reader = read(&bytes, 10_000).unwrap_or_else(|broken| panic!("{}: {broken}", recorded.name));
        let mut told: Vec<_> = NAMES.into_iter().zip(reader.seen().records).collect();
        told.push(("bytes", reader.parser().offset()));
        let dumped = |name: &str| recorded.dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        for (name, count) in told {
            assert_eq!(count, dumped(name).map_or(0, |count| count.parse().unwrap()), "{name} in {}", recorded.name);
        }
    }
}

#[test]
fn what_zfs_wrote_is_read_in_any_pieces() {
    for recorded in ALL {
        let bytes = recorded.bytes();
        let whole = read(&bytes, usize::MAX).unwrap();
        for piece in [if bytes.len() < 200_000 { 1 } else { 77 }, 4096, 65_537] {
            assert_eq!(read(&bytes, piece).unwrap().seen().records, whole.seen().records, "{}", recorded.name);
        }
    }
}

#[test]
fn a_stream_knows_from_where_to_where_it_leads() {
    for (zfs, guids) in [
        ("zfs-fuse", guids(include_str!("../recorded/zfs-fuse-guids"))),
        ("openzfs-2.4", guids(include_str!("../recorded/openzfs-2.4-guids"))),
    ] {
        let [one, two, three] = guids;
        for (name, from, to) in [
            ("full", 0, one),
            ("increment", one, two),
            ("chain", one, three),
            ("tree", 0, three),
            ("tree-chain", one, three),
        ] {
            let reader = read(&stream(&format!("{zfs}-{name}")), 10_000).unwrap();
            let seen = reader.seen();
            assert_eq!((seen.first().unwrap().from_guid, seen.to_guid), (from, Some(to)), "{zfs}-{name}");
        }
    }
}

#[test]
fn several_snapshots_are_whole_only_where_they_are_expected_and_all_lead_to_the_last() {
    for (zfs, told) in [
        ("zfs-fuse", include_str!("../recorded/zfs-fuse-guids")),
        ("openzfs-2.4", include_str!("../recorded/openzfs-2.4-guids")),
    ] {
        let [one, two, three] = guids(told).map(hex);
        let judge = |name: &str, from: &str, between: &[&String], guid: &str| {
            let (guid, from_guid) = (guid.to_owned(), Some(from.to_owned()));
            let between = between.iter().map(|guid| (*guid).clone()).collect();
            let mut reader = Reader::of(Expected { guid, from_guid, between, rest: false });
            reader.push(&stream(&format!("{zfs}-{name}"))).and_then(|()| reader.finish())
        };
        judge("chain", &one, &[&two], &three).unwrap();
        // One that was destroyed meanwhile does not come.
        let gone = hex(7);
        judge("chain", &one, &[&gone, &two], &three).unwrap();
        let missing = judge("chain", &one, &[&two, &three], &gone).unwrap_err();
        assert!(matches!(&missing, Broken::Missing { what, .. } if what.contains(&gone)), "{missing}");
        for (name, from, between, guid) in [
            ("chain", &one, &[] as &[_], &three),
            ("chain", &one, &[&gone], &three),
            ("chain", &two, &[&two], &three),
            ("increment", &one, &[&gone], &two),
        ] {
            let other = judge(name, from, between, guid).unwrap_err();
            assert!(matches!(other, Broken::Other { .. }), "{zfs}-{name}: {other}");
        }
    }
}

#[test]
fn what_a_stream_needs_is_told_by_name() {
    for (name, features) in [
        ("compressed", &["compressed", "lz4"][..]),
        ("embedded", &["embed_data"]),
        ("large", &["large_blocks"]),
        ("raw", &["raw", "compressed"]),
        ("redacted", &["redacted"]),
    ] {
        let reader = read(&stream(&format!("openzfs-2.4-{name}")), 10_000).unwrap();
        let told = reader.seen().first().unwrap().features;
        assert!(features.iter().all(|feature| told.has(feature)), "{name}: {:?}", told.names());
    }
}

#[test]
fn the_rest_of_a_stream_that_was_resumed_is_read_like_another() {
    let packed = include_bytes!("../recorded/openzfs-2.4-resumed.zst");
    let mut reader = Reader::default();
    reader.push(&zstd::decode_all(&packed[..]).unwrap()).unwrap();
    assert!(reader.seen().first().unwrap().features.has("resuming"));
    assert!(matches!(reader.finish(), Err(Broken::Cut { offset: 40_000, .. })));
}

#[test]
fn a_token_that_zfs_said_is_read_and_built_alike() {
    let token = Token::read(include_str!("../recorded/openzfs-2.4-token")).unwrap();
    let said = include_str!("../recorded/openzfs-2.4-token.said");
    let told = format!(
        "object: {}\noffset: {}\nbytes: {}\ntoguid: {}\ntoname: '{}'\n{}",
        token.object,
        token.offset,
        token.bytes,
        token.to_guid,
        token.name,
        if token.compressed { "compressok" } else { "" }
    );
    assert_eq!(said.lines().map(str::trim).collect::<Vec<_>>(), told.lines().collect::<Vec<_>>());
    assert!(!token.raw && !token.embedded && !token.large_blocks && token.from_guid.is_none());
    assert_eq!(Token::read(&token.to_string()), Ok(token));
}

#[test]
fn cut_at_every_border_and_at_a_thousand_other_places_it_is_not_whole() {
    for bytes in small() {
        let scattered = (0..1000).map(|step| 1 + step * 7919 % (bytes.len() - 1));
        let at_borders = borders(&bytes).into_iter().skip(1).map(|border| border as usize);
        let mut places: Vec<_> = scattered.chain(at_borders).collect();
        places.sort_unstable();
        places.dedup();
        // One reader goes on from place to place: it must say at each that the stream is cut there.
        let (mut reader, mut read) = (Reader::default(), 0);
        for place in places {
            reader.push(&bytes[read..place]).unwrap();
            read = place;
            let cut = reader.finish().unwrap_err();
            assert!(matches!(cut, Broken::Cut { offset, .. } if offset == place as u64), "{cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn one_flipped_bit_anywhere_is_found(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        thread_local!(static STREAMS: Vec<Vec<u8>> = small().collect());
        STREAMS.with(|streams| {
            let mut altered = which.get(streams).clone();
            let at = at.index(altered.len());
            altered[at] ^= 1 << bit;
            assert_found(&altered, at, true);
        });
    }
}
