//! Streams that were recorded, and streams built in code: whole, cut, altered at every place, in every order.

mod build;
mod places;
mod recorded;

use proptest::prelude::*;

use self::build::{Make, blocks};
use super::token::Token;
use super::{Broken, Event, Expected, Join, Parser, Reader};

/// Reads a stream in pieces of one size.
fn read(stream: &[u8], piece: usize) -> Result<Reader, Broken> {
    let mut reader = Reader::default();
    stream.chunks(piece).try_for_each(|bytes| reader.push(bytes))?;
    reader.finish()?;
    Ok(reader)
}

/// Where the records of a sound stream begin.
fn borders(stream: &[u8]) -> Vec<u64> {
    let (mut parser, mut borders) = (Parser::default(), vec![]);
    let note = |event: Event<'_>| {
        if let Event::Record(record, _) = event {
            borders.push(record.offset)
        }
    };
    parser.push(stream, &mut { note }).unwrap();
    borders
}

/// That a stream with one bit altered is told as broken, with the place of the bit.
fn assert_found(altered: &[u8], at: usize, exactly: bool) {
    let broken = read(altered, 4096).unwrap_err();
    let (record, offset) = broken.place();
    assert!(record > 0 && broken.to_string().contains(&offset.to_string()) || broken == Broken::NoStream, "{broken}");
    if let (Broken::Altered { since, until, .. }, true) = (&broken, exactly) {
        assert!((*since..=*until).contains(&(at as u64)), "byte {at}: {broken}");
    }
}

#[test]
fn every_kind_of_record_is_read_in_both_orders_and_in_any_pieces() {
    for make in [Make::default(), Make { big: true, ..Make::default() }] {
        let stream = make.stream();
        let whole = read(&stream, usize::MAX).unwrap();
        assert_eq!(whole.seen().records, [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1], "{make:?}");
        assert_eq!(whole.seen().to_guid, Some(2));
        for piece in [1, 3, 4, 7, 311, 312, 313, 1000] {
            let pieces = read(&stream, piece).unwrap();
            assert_eq!((pieces.seen().records, pieces.parser().offset()), (whole.seen().records, stream.len() as u64));
        }
    }
}

#[test]
fn a_cut_stream_is_never_whole() {
    let stream = Make::default().stream();
    let borders = borders(&stream);
    for length in 1..stream.len() {
        let mut reader = Reader::default();
        reader.push(&stream[..length]).unwrap();
        let border = borders.iter().rfind(|border| **border <= length as u64);
        // The record that would come next is known to begin here, too.
        assert_eq!(Some(&reader.parser().border()), border, "{length}");
        let Err(Broken::Cut { offset, .. }) = reader.finish() else { panic!("cut at {length}") };
        assert_eq!(offset, length as u64);
    }
    assert_eq!(Reader::default().finish(), Err(Broken::Cut { offset: 0, record: 0 }));
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_its_place_told() {
    for make in [Make::default(), Make { big: true, ..Make::default() }, Make { compound: true, ..Make::default() }] {
        let stream = make.stream();
        for at in 0..stream.len() {
            let mut altered = stream.clone();
            altered[at] ^= 1 << (at % 8);
            assert_found(&altered, at, true);
        }
    }
}

#[test]
fn old_streams_whose_records_have_no_checksums_are_judged_by_their_end() {
    let stream = Make { old: true, ..Make::default() }.stream();
    read(&stream, 100).unwrap();
    for at in 0..stream.len() {
        let mut altered = stream.clone();
        altered[at] ^= 1 << (at % 8);
        assert_found(&altered, at, false);
    }
}

#[test]
fn a_stream_says_what_was_altered_where() {
    let mut stream = Make::default().stream();
    let at = borders(&stream)[4] as usize;
    stream[at + 20] ^= 1;
    let told = read(&stream, 100).unwrap_err().to_string();
    let expected = format!(
        "record 5 (WRITE) of the stream, at byte {at}: the fletcher-4 checksum is wrong, \
         so something from byte {} to byte {} was altered",
        // The payload of the record before it is proven by this one.
        at - 16,
        at + 311
    );
    assert_eq!(told, expected);
}

#[test]
fn what_is_out_of_place_is_refused() {
    let stream = Make::default().stream();
    let surplus = [&stream[..], &stream[..]].concat();
    assert!(matches!(read(&surplus, 100), Err(Broken::Surplus { .. })));
    for other in [&b"btrfs-stream\0 and so on"[..], b"#!/bin/sh", &[7; 400]] {
        assert_eq!(read(other, 5).unwrap_err(), Broken::NoStream);
    }
    let endless = Make { length: Some(1 << 40), old: true, ..Make::default() }.stream();
    assert!(matches!(read(&endless, 100), Err(Broken::Impossible { record: 5, .. })));
}

#[test]
fn a_compound_stream_that_lacks_what_it_promises_is_not_whole() {
    let make = Make { compound: true, ..Make::default() };
    read(&make.stream(), 100).unwrap();
    let broken = read(&Make { forgotten: true, ..make }.stream(), 100).unwrap_err();
    assert!(matches!(&broken, Broken::Missing { what, .. } if what == "tank/pg/wal@2"), "{broken}");
}

#[test]
fn another_stream_than_the_expected_one_is_told_at_its_first_record() {
    let stream = Make::default().stream();
    let judge = |guid: &str, from: Option<&str>| {
        let expected = Expected { guid: guid.into(), from_guid: from.map(str::to_owned), between: vec![], rest: false };
        Reader::of(expected).push(&stream[..400])
    };
    let (one, two) = ("0000000000000001", "0000000000000002");
    judge(two, Some(one)).unwrap();
    for (guid, from) in [(one, Some(one)), (two, None), (two, Some(two))] {
        assert!(matches!(judge(guid, from), Err(Broken::Other { record: 1, offset: 0, .. })));
    }
}

#[test]
fn the_rest_of_a_stream_is_whole_only_where_a_rest_is_expected() {
    let (whole, rest) = (Make::default().stream(), Make::default().rest());
    let judge = |bytes: &[u8], rest| {
        let (guid, from_guid) = ("0000000000000002".to_owned(), Some("0000000000000001".to_owned()));
        let mut reader = Reader::of(Expected { guid, from_guid, between: vec![], rest });
        reader.push(bytes).and_then(|()| reader.finish())
    };
    judge(&rest, true).unwrap();
    // Nothing had arrived: `zfs send -t` begins at the beginning.
    judge(&whole, true).unwrap();
    let beheaded = judge(&rest, false).unwrap_err();
    assert!(matches!(&beheaded, Broken::Other { what, .. } if what.contains("the rest of")), "{beheaded}");
    assert!(matches!(judge(&rest[..rest.len() - 312], true), Err(Broken::Cut { .. })));
}

#[test]
fn a_place_to_go_on_is_in_front_of_a_block() {
    let stream = Make::default().stream();
    let mut reader = Reader::default();
    reader.push(&stream[..stream.len() - 312]).unwrap();
    let resumable = reader.seen().resumable.clone().unwrap();
    assert_eq!((resumable.block.object, resumable.block.offset), blocks()[1]);
    assert!(borders(&stream).contains(&resumable.border));
}

#[test]
fn halves_that_are_put_together_are_the_stream_that_was_never_cut() {
    for make in [Make::default(), Make { big: true, ..Make::default() }] {
        let whole = make.stream();
        let mut first = Reader::default();
        first.push(&whole[..whole.len() - 700]).unwrap();
        let token = Token::of(first.seen()).unwrap();
        assert_eq!((token.object, token.offset), blocks()[1]);
        let (begin, place) = (first.seen().begin.as_ref().unwrap(), first.seen().resumable.as_ref().unwrap());
        for piece in [1, 50, 1000] {
            let mut joined = whole[..place.border as usize].to_vec();
            let mut join = Join::after(begin, first.parser().order(), place);
            make.rest().chunks(piece).for_each(|bytes| join.push(bytes, &mut joined).unwrap());
            join.finish().unwrap();
            assert!(joined == whole);
        }
        let mut join = Join::after(begin, first.parser().order(), place);
        let anew = join.push(&whole, &mut vec![]).unwrap_err();
        assert!(matches!(&anew, Broken::Other { what, .. } if what.contains("begins anew")), "{anew}");
    }
}

#[tokio::test]
async fn a_watched_stream_ends_cleanly_only_when_it_is_whole() {
    use reseed_core::item::Pass;
    use reseed_core::stream::{Chunks, collect};

    let (guid, from_guid) = ("0000000000000002".into(), Some("0000000000000001".into()));
    let expected = Expected { guid, from_guid, between: vec![], rest: false };
    let collected = |bytes: &[u8]| {
        let chunks = bytes.chunks(50).map(bytes::Bytes::copy_from_slice).collect();
        collect(super::Whole(expected.clone()).pass(Box::new(Chunks::new(chunks))), usize::MAX)
    };
    let whole = Make::default().stream();
    assert_eq!(collected(&whole).await.unwrap(), whole);
    let cut = collected(&whole[..whole.len() - 312]).await.unwrap_err();
    assert!(cut.to_string().contains("its own end did not come"), "{cut}");
    let mut altered = whole;
    altered[700] ^= 1;
    let error = collected(&altered).await.unwrap_err();
    assert!(error.to_string().contains("fletcher-4") && error.hint_text().is_some(), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..500) {
        let _ = read(&bytes, piece);
    }

    #[test]
    fn arbitrary_bytes_behind_a_sound_beginning_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        keep in 1_usize..5000,
        old in any::<bool>(),
        compound in any::<bool>(),
    ) {
        let mut stream = Make { old, compound, ..Make::default() }.stream();
        stream.truncate(keep);
        stream.extend(bytes);
        let _ = read(&stream, 97);
    }

    #[test]
    fn any_split_gives_the_same(cuts in proptest::collection::vec(1_usize..700, 1..40), at in any::<u32>(), alter in any::<bool>()) {
        let mut stream = Make { compound: true, ..Make::default() }.stream();
        if alter {
            let at = at as usize % stream.len();
            stream[at] ^= 1;
        }
        let mut reader = Reader::default();
        let (mut rest, mut outcome) = (&stream[..], Ok(()));
        for cut in cuts.iter().cycle() {
            if rest.is_empty() || outcome.is_err() { break; }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            outcome = reader.push(piece);
            rest = behind;
        }
        let outcome = outcome.and_then(|()| reader.finish());
        prop_assert_eq!(outcome, read(&stream, usize::MAX).map(drop));
    }
}
