use reseed_core::stage::{CutOff, Holding};

use super::*;
use crate::format::Chunk;
use crate::store::Sha256;
use crate::testing;

/// A stream of four chunks of 100 bytes, which can be gone on with behind the first and the third.
fn stored() -> Stream {
    let chunk = |number: u64| Chunk {
        object: format!("chunks/run/000/{number}"),
        stored: 10,
        sha256: Sha256::of(b""),
        frame: None,
        size: 100,
        place: [1, 3].contains(&number).then(|| (number * 100).to_string()),
    };
    Stream { head: Some("lengths".into()), ..testing::stream(1, (0..4).map(chunk).collect(), Sha256::of(b"")) }
}

fn held(guid: &str, from: Option<&str>, token: &str) -> Holdings {
    let cut_off = CutOff { guid: guid.into(), from_guid: from.map(str::to_owned), token: token.into() };
    let holding = Holding { cut_off: Some(cut_off), ..Holding::of("tank/pg", vec![]) };
    Holdings::at("t", vec![holding])
}

#[test]
fn a_stream_is_gone_on_with_at_the_last_chunk_in_front_of_what_is_lacking() {
    let stored = stored();
    let chunk = |held: &Holdings| rest::of(&stored, "lengths", held).map(|rest| rest.chunk);
    for (token, at) in
        [("0", None), ("99", None), ("100", Some(1)), ("250", Some(1)), ("300", Some(3)), ("900", Some(3))]
    {
        assert_eq!(chunk(&held("g1", Some("g0"), token)), at, "{token}");
    }
    // Another snapshot, another start, a storage that can't, and nothing that was cut off.
    assert_eq!(chunk(&held("g2", Some("g0"), "250")), None);
    assert_eq!(chunk(&held("g1", None, "250")), None);
    assert!(rest::of(&stored, "other", &held("g1", Some("g0"), "250")).is_none());
    let nothing = Holdings::at("t", vec![Holding::of("tank/pg", vec![])]);
    assert_eq!(chunk(&nothing), None);
    let without = Stream { head: None, ..stored.clone() };
    assert!(rest::of(&without, "lengths", &held("g1", Some("g0"), "250")).is_none());
}
