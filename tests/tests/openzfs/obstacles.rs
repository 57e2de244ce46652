//! What others do to the datasets meanwhile.

use reseed_core::event::Event;
use reseed_tests::run::Ended;
use reseed_tests::vms::Vm;

use crate::chain::{COPY, Chain, SOURCE};

/// The run failed, everything was taken back, and the error says this and what to do.
#[track_caller]
fn failed(ended: &Ended, reason: &str, hint: &str) {
    ended.must_say(1, reason, hint);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_others_use_is_busy_and_nothing_is_lost() {
    let chain = Chain::new("");
    let over = "over = \"tank/live\"\nrollback = true";
    chain.vms.root(Vm::Standby, "zfs create -o mountpoint=/tank/live tank/live");
    chain.receive(over).await.must_be_done();
    // Somebody's shell stands in the live dataset.
    let stand = "cd /tank/live && (nohup sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/stands)";
    chain.vms.root(Vm::Standby, stand);
    let before = chain.snapshots(Vm::Standby, "tank/live");
    chain.write("second", 1);
    failed(&chain.receive(over).await, "busy", "fuser -vm");
    assert_eq!(chain.snapshots(Vm::Standby, "tank/live"), before);
    chain.vms.root(Vm::Standby, "kill $(cat /tmp/stands)");
    chain.receive(over).await.must_be_done();
    chain.agrees_at("tank/live");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_others_send_or_receive_into_is_left_in_order() {
    let chain = Chain::new("");
    chain.succeed().await;
    // Somebody sends the copy on, and takes its time.
    let sent = chain.newest(Vm::Standby, COPY);
    let send = format!(
        "mkfifo /tmp/slow; (nohup sh -c 'exec 3<>/tmp/slow; zfs send {sent} >/tmp/slow' >/dev/null 2>&1 & echo $! >/tmp/sends)"
    );
    chain.vms.root(Vm::Standby, &send);
    chain.succeed().await;
    // Now it is surplus, and stays: that is said, and the run is good all the same.
    let ended = chain.run("", "").await;
    assert_eq!(ended.report.exit_code(), 0, "{}", ended.story());
    let told = |event: &Event| matches!(event, Event::Warning { text, .. } if text.contains("is busy") && text.contains(&sent));
    assert!(ended.events.iter().any(told), "{}", ended.story());
    assert!(chain.snapshots(Vm::Standby, COPY).iter().any(|(name, _)| *name == sent), "it is still needed");
    chain.vms.root(Vm::Standby, "pkill -x zfs; kill $(cat /tmp/sends); true");
    chain.succeed().await;
    assert!(!chain.snapshots(Vm::Standby, COPY).iter().any(|(name, _)| *name == sent), "nobody needs it");
    // Somebody receives into it.
    let base = chain.newest(Vm::Primary, SOURCE);
    chain.write("second", 4);
    chain.vms.root(Vm::Primary, &format!("zfs snapshot {SOURCE}@foreign"));
    chain.vms.pipe(
        (Vm::Primary, &format!("zfs send -i {base} {SOURCE}@foreign | head -c 2000000")),
        (Vm::Standby, "cat >/tmp/part"),
    );
    let receive = format!(
        "(nohup sh -c '(cat /tmp/part; touch /tmp/fed; sleep 1000) | zfs receive -s -u {COPY}' >/dev/null 2>&1 & echo $! >/tmp/receives); until [ -e /tmp/fed ]; do sleep 0.1; done"
    );
    chain.vms.root(Vm::Standby, &receive);
    failed(&chain.run("", "").await, "partially-complete state", "zfs receive -A tank/reseed/data");
    // Cut off, it leaves a part of what is none of ours.
    chain.vms.root(Vm::Standby, "pkill -x sleep; until ! pgrep -x zfs; do sleep 0.1; done");
    assert!(chain.kept().is_some());
    chain.vms.root(Vm::Primary, &format!("zfs destroy {SOURCE}@foreign"));
    let ended = chain.succeed().await;
    let told = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("gave up"));
    assert!(ended.events.iter().any(told), "{}", ended.story());
    chain.agrees();
}
