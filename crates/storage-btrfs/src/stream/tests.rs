//! Streams built in code, cut and altered at every place.

use super::{Broken, Expected, Verifier};

const UUID: [u8; 16] = [7; 16];
const BASE: [u8; 16] = [9; 16];

/// A stream that `btrfs send` wrote: one file, `hi`.
const RECORDED: &[u8] = include_bytes!("recorded.stream");

fn text(uuid: [u8; 16]) -> String {
    super::attributes::uuid(&uuid).unwrap()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat()
}

fn command(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&(payload.len() as u32).to_le_bytes()[..], &kind.to_le_bytes(), &[0; 4], payload].concat();
    let crc = !crc32c::crc32c_append(!0, &bytes);
    bytes[6..10].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn header() -> Vec<u8> {
    [b"btrfs-stream\0".as_slice(), &1_u32.to_le_bytes()].concat()
}

/// The parts of an increment: header and commands.
fn parts() -> Vec<Vec<u8>> {
    let snapshot = [
        attribute(15, b"reseed-1"),
        attribute(1, &UUID),
        attribute(2, &[1; 8]),
        attribute(20, &BASE),
        attribute(21, &[1; 8]),
    ];
    let write = [attribute(15, b"f"), attribute(18, &[0; 8]), attribute(19, &[5; 300])];
    vec![header(), command(2, &snapshot.concat()), command(15, &write.concat()), command(20, b""), command(21, b"")]
}

fn expected() -> Expected {
    Expected { version: 1, name: "reseed-1".into(), uuid: text(UUID), base: Some(text(BASE)) }
}

fn judge(stream: &[u8], expected: Expected, piece: usize) -> Result<(), Broken> {
    let mut verifier = Verifier::new(expected);
    stream.chunks(piece).try_for_each(|bytes| verifier.push(bytes))?;
    verifier.finish()
}

#[test]
fn a_whole_stream_is_one_whatever_pieces_it_comes_in() {
    let stream = parts().concat();
    for piece in [1, 2, 3, 7, 10, 64, 1000] {
        judge(&stream, expected(), piece).unwrap();
    }
}

#[test]
fn what_btrfs_itself_wrote_is_read() {
    let uuid = "7190d43c-9cb1-204f-8ba4-2e7d0c77ef40".to_owned();
    let recorded = |name: &str, base| Expected { version: 1, name: name.into(), uuid: recorded_uuid(), base };
    judge(RECORDED, recorded("s1", None), 11).unwrap();
    assert!(matches!(judge(RECORDED, recorded("s2", None), 11), Err(Broken::Other { command: 1, offset: 17, .. })));
    assert!(judge(RECORDED, recorded("s1", Some(uuid)), 11).is_err());
}

fn recorded_uuid() -> String {
    text(RECORDED[37..53].try_into().unwrap())
}

#[test]
fn a_cut_stream_is_never_whole() {
    for stream in [parts().concat(), RECORDED.to_vec()] {
        for length in 0..stream.len() {
            let mut verifier = Verifier::new(match stream.len() == RECORDED.len() {
                true => Expected { version: 1, name: "s1".into(), uuid: recorded_uuid(), base: None },
                false => expected(),
            });
            verifier.push(&stream[..length]).unwrap();
            assert!(
                matches!(verifier.finish(), Err(Broken::Cut { offset, .. }) if offset == length as u64),
                "{length}"
            );
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let stream = parts().concat();
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut altered = stream.clone();
            altered[at] ^= 1 << bit;
            let found = judge(&altered, expected(), 64);
            assert!(found.is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn an_altered_command_is_told_by_number_and_place() {
    let (mut stream, before) = (parts().concat(), parts()[..2].concat().len());
    stream[before + 40] ^= 1;
    let broken = judge(&stream, expected(), 50).unwrap_err();
    assert_eq!(broken, Broken::Altered { command: 2, offset: before as u64 });
    let told = broken.to_string();
    assert_eq!(told, format!("command 2 of the stream, at byte {before}, was altered: its CRC32C is wrong"));
}

#[test]
fn another_stream_is_not_taken_for_the_one_that_was_expected() {
    let stream = parts().concat();
    let wrong = [
        Expected { uuid: text(BASE), ..expected() },
        Expected { name: "reseed-2".into(), ..expected() },
        Expected { base: None, ..expected() },
        Expected { base: Some(text(UUID)), ..expected() },
    ];
    for expected in wrong {
        let broken = judge(&stream, expected, 50).unwrap_err();
        assert!(matches!(broken, Broken::Other { command: 1, offset: 17, .. }), "{broken}");
    }
    let version = judge(&stream, Expected { version: 2, ..expected() }, 50).unwrap_err();
    assert_eq!(version, Broken::Version { found: 1, expected: 2 });
}

#[test]
fn what_is_out_of_place_is_refused() {
    let parts = parts();
    let joined = |indexes: &[usize]| indexes.iter().flat_map(|index| parts[*index].clone()).collect::<Vec<_>>();
    let told = |stream: &[u8]| judge(stream, expected(), 50).unwrap_err();
    assert!(matches!(told(&joined(&[0, 2, 4])), Broken::Other { command: 1, .. }));
    assert!(matches!(told(&joined(&[0, 1, 1, 4])), Broken::Other { command: 2, .. }));
    assert!(matches!(told(&joined(&[0, 1, 4, 2])), Broken::Surplus { .. }));
    assert!(matches!(told(&joined(&[0, 1, 4, 0])), Broken::Surplus { .. }));
    assert_eq!(told(b"zfs stream"), Broken::NoStream);
    let mut long = joined(&[0, 1]);
    long.extend([0xff; 10]);
    assert!(matches!(told(&long), Broken::Length { command: 2, .. }));
}

#[tokio::test]
async fn a_watched_stream_ends_cleanly_only_when_it_is_whole() {
    use reseed_core::item::Pass;
    use reseed_core::stream::{Chunks, collect};

    let collected = |bytes: Vec<u8>| {
        let chunks = bytes.chunks(50).map(bytes::Bytes::copy_from_slice).collect();
        collect(super::Whole(expected()).pass(Box::new(Chunks::new(chunks))), usize::MAX)
    };
    let whole = parts().concat();
    assert_eq!(collected(whole.clone()).await.unwrap(), whole);
    let cut = collected(parts()[..4].concat()).await.unwrap_err();
    assert!(cut.to_string().contains("its own end did not come"), "{cut}");
    let mut altered = whole;
    altered[200] ^= 1;
    let error = collected(altered).await.unwrap_err();
    assert!(error.to_string().contains("CRC32C") && error.hint_text().is_some(), "{error}");
}
