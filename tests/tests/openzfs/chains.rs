//! What a chain stands on, and how it is sent.

use reseed_tests::run::Ended;
use reseed_tests::vms::Vm;

use crate::chain::{COPY, Chain, SOURCE};

/// The run is refused for this reason, with a hint that holds this.
#[track_caller]
fn refused(ended: &Ended, reason: &str, hint: &str) {
    ended.must_say(3, reason, hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_is_enough_of_an_anchor() {
    let chain = Chain::new("");
    let run = async |snapshot: &str| {
        let ended = chain.run(snapshot, "").await;
        ended.must_be_done();
        ended
    };
    let whole = run("anchor = \"bookmark\"").await.report;
    assert!(whole.full);
    assert!(chain.snapshots(Vm::Primary, SOURCE).is_empty(), "the primary keeps no snapshot");
    chain.write("second", 1);
    let ended = run("anchor = \"bookmark\"").await;
    assert!(!ended.report.full && ended.report.from_guid == whole.to_guid, "{}", ended.story());
    assert!(ended.report.stream_bytes < 3 << 20, "{}", ended.story());
    let sized = |event: &reseed_core::event::Event| matches!(event, reseed_core::event::Event::Note { text, .. } if text.contains("since #reseed-") && text.contains("MiB"));
    assert!(ended.events.iter().any(sized), "the size from a bookmark is told\n{}", ended.story());
    let marks = chain.vms.root(Vm::Primary, &format!("zfs list -H -o name -t bookmark {SOURCE}"));
    assert_eq!(marks.lines().count(), 1, "older bookmarks go: {marks}");
    // A snapshot that an administrator dropped leaves its bookmark.
    let before = run("").await.report;
    let held = chain.snapshots(Vm::Primary, SOURCE);
    assert_eq!((held.len(), held[0].1.as_str()), (1, "1"), "{held:?}");
    let name = &held[0].0;
    chain.vms.root(
        Vm::Primary,
        &format!("for t in $(zfs holds -H {name} | cut -f2); do zfs release $t {name}; done; zfs destroy {name}"),
    );
    chain.write("third", 1);
    let ended = run("").await;
    assert_eq!(ended.report.from_guid, before.to_guid, "{}", ended.story());
    // What other hands need stays: a hold of theirs on a copy's snapshot.
    let (oldest, _) = chain.snapshots(Vm::Standby, COPY)[0].clone();
    chain.vms.root(Vm::Standby, &format!("zfs hold mine {oldest}"));
    run("").await;
    assert!(chain.snapshots(Vm::Standby, COPY).iter().any(|(name, _)| *name == oldest));
    chain.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_goes_raw_or_is_refused_and_a_chain_stays_as_it_was_begun() {
    let chain = Chain::new("-o encryption=on -o keyformat=raw -o keylocation=file:///root/key");
    refused(&chain.run("", "").await, "is encrypted", "encrypted = \"raw\"");
    let raw = "encrypted = \"raw\"";
    chain.run("", raw).await.must_be_done();
    chain.write("second", 1);
    let ended = chain.run("", raw).await;
    ended.must_be_done();
    assert!(!ended.report.full, "{}", ended.story());
    let told = chain.vms.root(Vm::Standby, &format!("zfs get -H -o value encryption,keystatus,reseed:flags {COPY}"));
    assert_eq!(told, "aes-256-gcm\nunavailable\n-L -e -c -w");
    // Record size and key are those that it was begun with, or it is another chain.
    chain.vms.root(Vm::Primary, &format!("zfs set recordsize=64k {SOURCE}"));
    refused(
        &chain.run("", raw).await,
        "its recordsize was 131072 then, and is 65536 now",
        "zfs destroy -r tank/reseed/data",
    );
    chain.vms.root(Vm::Primary, &format!("zfs set recordsize=128k {SOURCE}"));
    let key = chain.vms.root(Vm::Standby, &format!("zfs get -H -o value reseed:key {COPY}"));
    assert!(key.len() == 16 && key.chars().all(|c| c.is_ascii_hexdigit()), "{key}");
    chain.vms.root(Vm::Standby, &format!("zfs set reseed:key=0 {COPY}"));
    let reason = format!("it was encrypted by the key 0 then, and is by {key} now");
    refused(&chain.run("", raw).await, &reason, "zfs destroy -r tank/reseed/data");
    chain.vms.root(Vm::Standby, &format!("zfs set reseed:key={key} {COPY}"));
    // Another passphrase or key file wraps the same key.
    chain.vms.root(
        Vm::Primary,
        &format!("head -c 32 /dev/urandom >/root/key2 && zfs change-key -o keylocation=file:///root/key2 {SOURCE}"),
    );
    chain.run("", raw).await.must_be_done();
    // In the clear now: another chain.
    let clear = "encrypted = \"clear\"";
    refused(&chain.run("", clear).await, "it came raw", "zfs destroy -r tank/reseed/data");
    chain.drop_copy(COPY);
    let ended = chain.run("", clear).await;
    ended.must_be_done();
    assert!(ended.report.full, "{}", ended.story());
    chain.agrees();
    // A chain that was begun without `-L` goes on without it.
    chain.vms.root(Vm::Standby, &format!("zfs set 'reseed:flags=-e -c' {COPY}"));
    let ended = chain.run("", clear).await;
    ended.must_be_done();
    assert_eq!(chain.vms.root(Vm::Standby, &format!("zfs get -H -o value reseed:flags {COPY}")), "-e -c");
    // Without its key it can't be sent, and the message says what to do.
    chain.vms.root(Vm::Primary, &format!("zfs unmount {SOURCE}; zfs unload-key {SOURCE}; zfs list -H {SOURCE}"));
    let ended = chain.run("", clear).await;
    assert_ne!(ended.report.exit_code(), 0);
    chain.vms.root(Vm::Primary, &format!("zfs load-key {SOURCE} && zfs mount {SOURCE}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_named_with_what_to_do() {
    let chain = Chain::new("");
    chain.succeed().await;
    chain.write("second", 8);
    // No room: told before anything moves where the size is known.
    let used = chain.vms.root(Vm::Standby, "zfs get -Hp -o value used tank/reseed");
    chain.vms.root(Vm::Standby, &format!("zfs set quota={} tank/reseed", used.parse::<u64>().unwrap() + (4 << 20)));
    refused(&chain.run("", "").await, "needs about", "zfs list -o space");
    chain.vms.root(Vm::Standby, "zfs set quota=none tank/reseed");
    // A copy that was written to.
    let write = format!(
        "zfs set readonly=off {COPY} && mkdir -p /tmp/w && mount -t zfs -o zfsutil {COPY} /tmp/w && echo x >/tmp/w/x && umount /tmp/w && zpool sync"
    );
    chain.vms.root(Vm::Standby, &write);
    refused(&chain.run("", "").await, "was written to", "zfs rollback");
    let newest = chain.newest(Vm::Standby, COPY);
    chain.vms.root(Vm::Standby, &format!("zfs rollback {newest} && zfs set readonly=on {COPY}"));
    // A user without the right to send.
    chain.vms.root(Vm::Primary, &format!("zfs unallow -u zfssync send {SOURCE}"));
    refused(&chain.run("", "").await, "has no right on tank/data", "zfs allow -u zfssync");
    chain.vms.root(Vm::Primary, &format!("zfs allow -u zfssync send {SOURCE}"));
    chain.succeed().await;
    chain.agrees();
}

/// Runs `reseed` here, where it has the stages of tests too, and gives its exit code.
async fn reseed(args: &[&str]) -> u8 {
    let args: Vec<_> = std::iter::once(&"reseed").chain(args).map(Into::into).collect();
    tokio::task::spawn_blocking(move || reseed_cli::main(args)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_is_forgotten_and_no_other_is() {
    let chain = Chain::new("");
    let gone = "into = \"tank/gone\"";
    chain.succeed().await;
    chain.receive(gone).await.must_be_done();
    let kept = |kind: &str| {
        let list = format!("zfs list -H -t {kind} -o name,reseed:target,userrefs -s createtxg {SOURCE}");
        chain.vms.root(Vm::Primary, &list).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (snapshots, bookmarks) = (kept("snapshot"), kept("bookmark"));
    println!("{snapshots:#?}\n{bookmarks:#?}");
    assert_eq!((snapshots.len(), bookmarks.len()), (2, 2));
    let target = snapshots[1].split('\t').nth(1).unwrap();
    assert!(target.ends_with(":tank/gone"), "{target}");
    let path = chain.vms.path("gone.toml");
    std::fs::write(&path, chain.file("", "", gone)).unwrap();
    // One that there is not takes nothing along.
    assert_eq!(reseed(&["forget", "7:tank/gone", &path]).await, 3);
    assert_eq!((kept("snapshot"), kept("bookmark")), (snapshots.clone(), bookmarks.clone()));
    chain.drop_copy("tank/gone");
    assert_eq!(reseed(&["forget", target, &path]).await, 0);
    assert_eq!((kept("snapshot"), kept("bookmark")), (snapshots[..1].to_vec(), bookmarks[..1].to_vec()));
    assert_eq!(reseed(&["forget", target, &path]).await, 3, "there is nothing left to forget");
    // The other's chain goes on.
    let ended = chain.succeed().await;
    assert!(!ended.report.full, "{}", ended.story());
    chain.agrees();
}
