//! What others do to the datasets meanwhile.

use reseed_tests::run::Ended;
use reseed_tests::vms::Vm;

use crate::chain::Chain;

/// The run failed, everything was taken back, and the error says this and what to do.
#[track_caller]
fn failed(ended: &Ended, reason: &str, hint: &str) {
    assert_eq!(ended.report.exit_code(), 1, "{}", ended.story());
    assert!(ended.report.error.as_ref().is_some_and(|error| error.contains(reason)), "{}", ended.story());
    assert!(ended.report.hint.as_ref().is_some_and(|told| told.contains(hint)), "{}", ended.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_others_fill_meanwhile_fails_the_run_and_the_next_one_succeeds() {
    let chain = Chain::new("");
    chain.write("second", 16);
    // Half of so small a pool is held back by ZFS itself.
    let make = "truncate -s 128M /root/small && zpool create -O mountpoint=none small /root/small";
    chain.vms.root(Vm::Standby, make);
    let receive = "into = \"small/reseed\"\nmin_free = \"0%\"";
    let fill = "zfs create -o mountpoint=/small small/filler
        dd if=/dev/urandom of=/small/filler bs=1M 2>/dev/null; zpool sync small";
    let ended = chain.meanwhile(receive, Vm::Standby, fill).await;
    failed(&ended, "out of space", "zfs list -o space,quota -r small");
    let token = "zfs get -H -o value receive_resume_token small/reseed/data 2>/dev/null || echo gone";
    println!("kept: {}", chain.vms.root(Vm::Standby, token));
    chain.vms.root(Vm::Standby, "zfs destroy -r small/filler && zpool sync small");
    let ended = chain.receive(receive).await;
    ended.must_be_done();
    println!("{}", ended.summary());
    chain.agrees_at("small/reseed/data");
}
