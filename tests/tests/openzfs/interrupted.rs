//! Transfers that were cut off go on where they stopped.

use reseed_core::event::Event;
use reseed_tests::run::Ended;
use reseed_tests::vms::Vm;

use crate::chain::{COPY, Chain, SOURCE};

/// Cuts of one transfer.
const CUTS: u64 = 20;
/// Bytes that may be sent twice for each cut: what was on its way, in the buffers of SSH and of the receiver,
/// or had arrived and was not on the disk yet.
const TWICE: u64 = 4 << 20;

/// The same "random" numbers in every run of the test, printed with what they did.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn goes_on(ended: &Ended) -> bool {
    let told = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("the rest of it first"));
    ended.events.iter().any(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_stream_that_is_cut_at_twenty_points_is_never_begun_anew() {
    let chain = Chain::new("");
    chain.write("second", 40);
    let total: u64 = 48 << 20;
    let (mut seed, mut kept, mut sent) = (6, 0, 0);
    for cut in 0..CUTS {
        let left = total - kept;
        let after = (5 << 19) + random(&mut seed) % (3 << 20);
        let ended = chain.cut(after).await;
        assert_eq!(goes_on(&ended), kept > 0, "{}", ended.story());
        assert!(ended.report.stream_bytes <= left + TWICE, "{}", ended.story());
        sent += ended.report.stream_bytes;
        let now = chain.kept().unwrap_or(0);
        println!("cut {cut} after {after} of {left}: {now} bytes are kept");
        assert!(now >= kept, "less is kept than before: {now} < {kept}\n{}", ended.story());
        kept = now;
        let held = chain.snapshots(Vm::Primary, SOURCE);
        assert_eq!(held.len(), 1, "the snapshot that is needed, and no other: {held:?}\n{}", ended.story());
        assert_eq!(held[0].1, "1", "it is held: {held:?}");
    }
    assert!(kept > total / 4, "hardly anything was kept: {kept}");
    let ended = chain.succeed().await;
    assert!(goes_on(&ended), "{}", ended.story());
    assert!(!ended.report.full, "the increment on top of what was gone on with: {:?}", ended.report);
    sent += ended.report.stream_bytes;
    println!("{sent} bytes for a stream of {total}, cut {CUTS} times");
    assert!(ended.report.stream_bytes <= total - kept + TWICE, "{}", ended.story());
    chain.agrees();
    // What was gone on with is an anchor like any other, and goes in its turn.
    chain.succeed().await;
    chain.succeed().await;
    assert_eq!(chain.snapshots(Vm::Primary, SOURCE).len(), 2);
    assert_eq!(chain.snapshots(Vm::Standby, COPY).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_that_was_cut_goes_on_and_what_was_committed_is_the_anchor() {
    let chain = Chain::new("");
    let whole = chain.succeed().await.report;
    chain.write("second", 16);
    let cut = chain.cut(9 << 20).await;
    let kept = chain.kept().expect("something is kept");
    assert_eq!(cut.report.outcome, reseed_core::report::Outcome::Undone);
    let said = |event: &Event| matches!(event, Event::Undone { undo } if undo.contains("the next run goes on"));
    assert_eq!(cut.events.iter().filter(|event| said(event)).count(), 2, "{}", cut.story());
    let planned = chain.snapshots(Vm::Primary, SOURCE).last().cloned().unwrap().0;
    chain.write("third", 1);
    let ended = chain.succeed().await;
    assert!(goes_on(&ended), "{}", ended.story());
    let bytes = ended.report.stream_bytes;
    assert!(bytes <= (17 << 20) - kept + TWICE, "{bytes} bytes were sent where {kept} were kept");
    // The increment on top starts from the snapshot that was cut, not from that of the whole.
    assert_ne!(ended.report.from_guid, whole.to_guid);
    let committed = chain.vms.root(Vm::Primary, &format!("zfs get -Hp -o value guid {planned}"));
    assert_eq!(ended.report.from_guid, Some(format!("{:016x}", committed.parse::<u64>().unwrap())));
    chain.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_gone_on_with_is_given_up_and_said() {
    let chain = Chain::new("");
    chain.write("second", 16);
    chain.cut(9 << 20).await;
    assert!(chain.kept().is_some());
    // The snapshot is made anew under its old name: a token goes by the GUID.
    let name = chain.snapshots(Vm::Primary, SOURCE).last().cloned().unwrap().0;
    let again =
        format!("for t in $(zfs holds -H {name} | cut -f2); do zfs release $t {name}; done; zfs destroy {name}");
    chain.vms.root(Vm::Primary, &format!("{again}; zfs snapshot {name}"));
    let ended = chain.succeed().await;
    assert!(ended.report.full && !goes_on(&ended), "{}", ended.story());
    let told = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("gave up"));
    assert!(ended.events.iter().any(told), "{}", ended.story());
    chain.agrees();
}
