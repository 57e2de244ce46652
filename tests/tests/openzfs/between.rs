//! The snapshots between two runs, in one stream.

use reseed_core::event::Event;
use reseed_tests::vms::{SENDER, Vm};

use crate::chain::{COPY, Chain, SOURCE};
use crate::interrupted::goes_on;

const ALL: &str = "intermediary = true";
const MIB: u64 = 1 << 20;

/// Names of snapshots without their dataset's.
fn names(chain: &Chain, vm: Vm, dataset: &str) -> Vec<String> {
    let all = chain.snapshots(vm, dataset).into_iter();
    all.map(|(name, _)| name.split_once('@').unwrap().1.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_snapshots_that_were_cut_go_on_within_the_one_that_was_on_its_way() {
    let chain = Chain::new("");
    let run = async || {
        let ended = chain.run("", ALL).await;
        ended.must_be_done();
        println!("{}", ended.summary());
        ended
    };
    run().await;
    // One of a run for another target, and two that others took.
    let foreign = "reseed-20250101t000000-0a1b2c";
    for (name, mib) in [(foreign, 1), ("one", 6), ("two", 24)] {
        chain.write(name, mib);
        chain.vms.root(Vm::Primary, &format!("zfs snapshot {SOURCE}@{name}"));
    }
    // What is there in `one` alone is sent too, and told: 6 MiB more than what has changed since the base.
    chain.write("one", 6);
    // `zfs send -I` holds what it sends.
    chain.vms.root(Vm::Primary, &format!("zfs unallow -u {SENDER} hold {SOURCE}"));
    chain.run("", ALL).await.must_say(3, "to: hold", "zfs allow");
    chain.vms.root(Vm::Primary, &format!("zfs allow -u {SENDER} hold {SOURCE}"));
    // In the midst of the third: what came whole stays, and what came of that one.
    let ended = chain.cut_sending(ALL, 23 * MIB).await;
    let sizes = ended.events.iter().filter_map(|event| match event {
        Event::Note { text, .. } => text.split_once("in between, about ")?.1.split(' ').next()?.parse::<u64>().ok(),
        _ => None,
    });
    assert!(sizes.max().is_some_and(|mib| (36..45).contains(&mib)), "{}", ended.story());
    let told = names(&chain, Vm::Standby, COPY);
    assert_eq!(told[1..], [foreign, "one"], "{}", ended.story());
    let kept = chain.kept().unwrap();
    assert!(kept > 8 * MIB, "{kept} bytes are kept of what others called `two`");
    let ended = run().await;
    assert!(goes_on(&ended) && ended.report.stream_bytes < 30 * MIB - kept + 4 * MIB, "{}", ended.story());
    let told = names(&chain, Vm::Standby, COPY);
    assert!(told.ends_with(&[names(&chain, Vm::Primary, SOURCE).pop().unwrap()]), "{told:?}");
    assert!(["one", "two"].iter().all(|name| told.iter().any(|other| other == name)), "{told:?}");
    chain.agrees();
    // What reseed took for another target is pruned here as what it took for this one; what others took stays.
    run().await;
    let told = names(&chain, Vm::Standby, COPY);
    assert!(!told.iter().any(|name| name == foreign), "{told:?}");
    assert_eq!(told.len(), 4, "two of others, and two of this target: {told:?}");
    assert!(names(&chain, Vm::Primary, SOURCE).iter().any(|name| name == foreign), "the source's own stays");
    // What the source has destroyed meanwhile is in nobody's way.
    for (name, mib) in [("three", 6), ("four", 16)] {
        chain.write(name, mib);
        chain.vms.root(Vm::Primary, &format!("zfs snapshot {SOURCE}@{name}"));
    }
    let ended = chain.cut_sending(ALL, 15 * MIB).await;
    let told = names(&chain, Vm::Standby, COPY);
    assert_eq!(told.last().map(String::as_str), Some("three"), "{}", ended.story());
    chain.vms.root(Vm::Primary, &format!("zfs destroy {SOURCE}@three; zfs destroy {SOURCE}@four"));
    let ended = run().await;
    assert!(!ended.report.full && !goes_on(&ended), "{}", ended.story());
    assert!(!names(&chain, Vm::Standby, COPY).iter().any(|name| name == "three"), "{}", ended.story());
    chain.agrees();
}
