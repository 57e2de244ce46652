//! Places at which a stream is gone on with: told in words, read again, and what both ends make of the rest.

use bytes::Bytes;
use reseed_core::item::Pass;
use reseed_core::reader::{Place, Resumption, StreamReader};
use reseed_core::stream::{BoxStream, Chunks, collect};

use super::super::place::Places;
use super::super::token::Token;
use super::super::{Body, Event, Expected, Joined, Parser, Reader, Spot};
use super::build::Make;
use super::recorded::stream;

/// Streams of one snapshot each, of every kind that a receiver can go on with.
fn streams() -> Vec<Vec<u8>> {
    let recorded = ["full", "increment", "compressed", "embedded", "large"];
    let mut all: Vec<_> = recorded.iter().map(|name| stream(&format!("openzfs-2.4-{name}"))).collect();
    all.extend([false, true].map(|big| Make { big, ..Make::default() }.stream()));
    all
}

/// Every place of a stream, as it is told while the stream is read.
fn places(stream: &[u8]) -> Vec<Place> {
    let (mut reader, mut places) = (Reader::default(), vec![]);
    for piece in stream.chunks(150) {
        reader.push(piece).unwrap();
        let place = StreamReader::place(&reader);
        assert!(place.as_ref().is_none_or(|place| place.offset <= reader.parser().border()));
        places.extend(place);
    }
    places.dedup();
    places
}

fn given(bytes: &[u8]) -> BoxStream {
    Box::new(Chunks::new(bytes.chunks(777).map(Bytes::copy_from_slice).collect()))
}

/// The blocks that a stream writes, in order, as object and offset.
fn written(stream: &[u8]) -> Vec<(u64, u64)> {
    let (mut parser, mut blocks) = (Parser::default(), vec![]);
    let note = |event: Event<'_>| {
        if let Event::Record(record, _) = event
            && let Body::Write(block) = &record.body
        {
            blocks.push((block.object, block.offset));
        }
    };
    parser.push(stream, &mut { note }).unwrap();
    blocks
}

fn behind<'s>(stream: &'s [u8], place: &Place) -> &'s [u8] {
    &stream[place.offset as usize..]
}

/// The token by which a receiver goes on at this block.
fn token(place: &Place, (object, offset): (u64, u64)) -> String {
    Token { object, offset, ..Spot::read(place).unwrap().token().unwrap() }.to_string()
}

#[test]
fn what_follows_a_place_is_read_and_judged_as_in_the_whole_stream() {
    for stream in streams() {
        let places = places(&stream);
        assert!(!places.is_empty());
        for place in places.iter().step_by(places.len().div_ceil(20)) {
            let rest = behind(&stream, place);
            let mut reader = Places.reader(place).unwrap();
            rest.chunks(1000).for_each(|bytes| reader.push(bytes).unwrap());
            reader.finish().unwrap();
            let mut whole = Reader::default();
            whole.push(&stream).unwrap();
            let (seen, expected) = (reader.seen(), StreamReader::seen(&whole));
            assert_eq!(
                (seen.from_guid, seen.to_guid, seen.bytes),
                (expected.from_guid, expected.to_guid, expected.bytes)
            );
            let mut altered = rest.to_vec();
            altered[40] ^= 1;
            let damage = Places.reader(place).unwrap().push(&altered).unwrap_err();
            assert_eq!(damage.offset, place.offset, "{damage}");
            assert!(Places.reader(place).unwrap().push(&stream).is_err(), "it does not begin there");
        }
    }
}

#[test]
fn streams_that_nobody_can_go_on_with_have_no_places() {
    for make in [Make { old: true, ..Make::default() }, Make { compound: true, ..Make::default() }] {
        assert_eq!(places(&make.stream()), []);
    }
    let place = places(&streams()[0]).remove(0);
    for altered in [
        Place { head: place.head[2..].to_owned(), ..place.clone() },
        Place { head: "x".into(), ..place.clone() },
        Place { head: "0".repeat(1000), ..place.clone() },
        Place { state: "1:2:3".into(), ..place.clone() },
        Place { state: place.state.replace(':', ";"), ..place.clone() },
    ] {
        assert!(Places.reader(&altered).is_err(), "{altered:?}");
        assert!(!Places.leads_to(&altered, &token(&place, (u64::MAX, 0))));
    }
}

#[tokio::test]
async fn a_receiver_takes_from_any_chunk_exactly_the_blocks_that_it_lacks() {
    for stream in streams() {
        let (blocks, places) = (written(&stream), places(&stream));
        for place in places.iter().step_by(places.len().div_ceil(5)) {
            let first = Spot::read(place).unwrap().at.block;
            for block in blocks.iter().step_by(blocks.len().div_ceil(10)) {
                let token = token(place, *block);
                let leads = (first.object, first.offset) <= *block;
                assert_eq!(Places.leads_to(place, &token), leads);
                if !leads {
                    continue;
                }
                let rest = Places.rest(place, &token, given(behind(&stream, place))).unwrap();
                let rest = collect(rest, usize::MAX).await.unwrap();
                let lacking: Vec<_> = blocks.iter().copied().filter(|one| one >= block).collect();
                assert_eq!(written(&rest), lacking);
                let mut whole = Reader::default();
                whole.push(&stream).unwrap();
                let seen = StreamReader::seen(&whole);
                let (guid, from_guid) = (seen.to_guid.unwrap(), seen.from_guid);
                let expected = Expected { guid, from_guid, between: vec![], rest: true };
                let mut reader = Reader::of(expected);
                reader.push(&rest).and_then(|()| reader.finish()).unwrap();
                assert!(reader.seen().first().unwrap().features.has("resuming"));
            }
        }
    }
}

#[test]
fn another_stream_or_one_that_says_more_at_its_beginning_is_not_gone_on_with() {
    let place = places(&stream("openzfs-2.4-full")).remove(0);
    let of = |token: Token| Places.leads_to(&place, &token.to_string());
    let token = Token { object: u64::MAX, ..Spot::read(&place).unwrap().token().unwrap() };
    assert!(of(token.clone()));
    assert!(!of(Token { to_guid: 1, ..token.clone() }) && !of(Token { from_guid: Some(1), ..token }));
    assert!(!Places.leads_to(&place, "nonsense"));
    let raw = places(&stream("openzfs-2.4-raw")).remove(0);
    let token = Token { object: u64::MAX, ..Spot::read(&raw).unwrap().token().unwrap() };
    assert!(!Places.leads_to(&raw, &token.to_string()), "the receiver would need the key's parameters");
}

#[tokio::test]
async fn what_a_sender_makes_of_a_token_follows_the_place() {
    for make in [Make::default(), Make { big: true, ..Make::default() }] {
        let whole = make.stream();
        let place = places(&whole).pop().unwrap();
        let joined = || Joined(Spot::read(&place).unwrap());
        let made = collect(joined().pass(given(&make.rest())), usize::MAX).await.unwrap();
        assert!(made == behind(&whole, &place));
        let cut = make.rest();
        let error = collect(joined().pass(given(&cut[..cut.len() - 312])), usize::MAX).await.unwrap_err();
        assert!(error.to_string().contains("its own end did not come"), "{error}");
        let error = collect(joined().pass(given(&whole)), usize::MAX).await.unwrap_err();
        assert!(error.to_string().contains("begins anew"), "{error}");
    }
}

#[test]
fn a_place_of_another_stream_than_is_sent_is_told() {
    let spot = Spot::read(&places(&stream("openzfs-2.4-increment")).remove(0)).unwrap();
    let begin = spot.begin().unwrap();
    let hex = |guid: u64| format!("{guid:016x}");
    let same =
        Expected { guid: hex(begin.to_guid), from_guid: Some(hex(begin.from_guid)), between: vec![], rest: false };
    assert!(spot.is_in(&same));
    assert!(!spot.is_in(&Expected { guid: hex(1), ..same.clone() }));
    assert!(!spot.is_in(&Expected { from_guid: None, ..same }));
}
