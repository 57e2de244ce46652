//! What is refused, with a hint, before anything is touched.

use std::path::Path;

use reseed_lab::{
    FarPath, Major, Pair, PairOptions, PrimaryOptions, Recipe, Server, Sshd, Switch, User, installed_majors,
};
use reseed_tests::ready;
use reseed_tests::run::{Ended, Trial};
use reseed_tests::state::State;

/// A pair whose standby, where there is to be one, has been seeded.
async fn pair(settings: &[&str], seeded: bool) -> Option<Pair> {
    if !ready() {
        return None;
    }
    let settings = settings.iter().map(|line| (*line).to_owned()).collect();
    let small = PairOptions::small(Major::newest().unwrap());
    let pair = Pair::new(&PairOptions { scale: 1, settings, ..small }).unwrap();
    if seeded {
        Trial::of(&pair.pipeline(&Recipe::default())).run().await.must_be_done();
    }
    Some(pair)
}

/// The run is refused for this reason, with a hint, and nothing is touched.
async fn refused(pair: &Pair, text: &str, reason: &str) -> Ended {
    let (before, started) = (State::of(pair), began(&pair.standby));
    let ended = Trial::of(text).run().await;
    assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
    let error = ended.report.error.clone().unwrap_or_default();
    assert!(error.contains(reason), "not about `{reason}`: {error}");
    assert!(ended.report.hint.is_some(), "no hint: {error}");
    assert_eq!(State::of(pair), before, "something was touched");
    assert_eq!(began(&pair.standby), started, "the standby was restarted");
    println!("{error}\n  hint: {}", ended.report.hint.clone().unwrap_or_default());
    ended
}

fn began(server: &Server) -> Option<String> {
    server.sql("select pg_postmaster_start_time()").ok()
}

fn by_clone_and_in_place(pair: &Pair) -> [String; 2] {
    [Switch::Clone, Switch::InPlace].map(|switch| pair.pipeline(&Recipe { switch, ..Recipe::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_what_stays_pristine() {
    let Some(pair) = pair(&[], false).await else { return };
    let text = pair.pipeline(&Recipe::default());
    let (before, clone) = text.split_once("[[stage]]\nuse = \"zfs-clone\"").unwrap();
    let after = clone.split_once("[[stage]]").unwrap().1;
    let ended = refused(&pair, &format!("{before}[[stage]]{after}"), "no server can run on it").await;
    assert_eq!(ended.report.hint.as_deref(), Some("put the stage zfs-clone after zfs-receive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_a_primary() {
    let Some(pair) = pair(&[], true).await else { return };
    pair.standby.sql("select pg_promote()").unwrap();
    for text in by_clone_and_in_place(&pair) {
        refused(&pair, &text, "primary").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_another_cluster() {
    let Some(pair) = pair(&[], false).await else { return };
    pair.b.create("pgsql", &[]).unwrap();
    User::named("postgres").unwrap().own(Path::new(&pair.b.path("pgsql"))).unwrap();
    let other =
        Server::primary(&pair.lab, "other", &pair.primary.major, &pair.standby.data, &PrimaryOptions::default());
    let other = other.unwrap();
    other.stop().unwrap();
    std::fs::write(Path::new(&other.data).join("standby.signal"), "").unwrap();
    for text in by_clone_and_in_place(&pair) {
        refused(&pair, &text, "system identifier").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_the_source() {
    let Some(pair) = pair(&[], false).await else { return };
    let (there, here) = (pair.b.dataset("pgsql"), pair.a.dataset("pgsql"));
    let in_place = pair.pipeline(&Recipe { switch: Switch::InPlace, ..Recipe::default() });
    let text = in_place.replace(&there, &here).replace(&pair.standby.data, &pair.primary.data);
    refused(&pair, &text, "").await;
    let into = pair.pipeline(&Recipe::default()).replace(&pair.b.dataset("reseed"), &here);
    refused(&pair, &into, &here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_writes_too_little_wal() {
    let Some(pair) = pair(&["wal_level = minimal", "max_wal_senders = 0"], false).await else { return };
    refused(&pair, &pair.pipeline(&Recipe::default()), "wal_level").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_a_free_wal_sender() {
    let Some(pair) = pair(&["max_wal_senders = 1"], false).await else { return };
    let directory = pair.lab.path("received");
    std::fs::create_dir(&directory).unwrap();
    User::named("postgres").unwrap().own(Path::new(&directory)).unwrap();
    let taker = pair.primary.client("pg_receivewal").args(["-D", &directory]);
    let mut taker = taker.start().unwrap();
    while pair.primary.sql("select count(*) from pg_stat_replication").unwrap() != "1" {
        assert!(taker.try_wait().unwrap().is_none(), "pg_receivewal ended");
    }
    let text = pair.pipeline(&Recipe::default());
    refused(&pair, &text, "max_wal_senders").await;
    taker.kill().unwrap();
    taker.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_standby_must_not_have_lower() {
    let Some(pair) = pair(&[], true).await else { return };
    for name in ["max_connections", "max_worker_processes", "max_locks_per_transaction"] {
        for text in by_clone_and_in_place(&pair) {
            let text = text.replace("settings = { ", &format!("settings = {{ {name} = 3, "));
            refused(&pair, &text, name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_another_major_version() {
    let Some(pair) = pair(&[], false).await else { return };
    let mine = pair.primary.major.number;
    let Some(other) = installed_majors().into_values().find(|major| major.number != mine) else {
        assert!(std::env::var_os("CI").is_none(), "CI has other versions");
        println!("skipped: no other version of PostgreSQL is installed");
        return;
    };
    let other = Server::place(&pair.lab, "other", &other, &pair.standby.data).unwrap();
    let [mine, other] = [&pair.standby, &other].map(|server| server.programs.display().to_string());
    refused(&pair, &pair.pipeline(&Recipe::default()).replace(&mine, &other), "are of PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_rights() {
    let Some(mut pair) = pair(&[], false).await else { return };
    pair.sshd = Some(Sshd::of_user(&pair.lab, &User::named("postgres").unwrap()).unwrap());
    let text = pair.pipeline(&Recipe::default()).replace("root@127.0.0.1", "postgres@127.0.0.1");
    let ended = refused(&pair, &text, &pair.a.dataset("pgsql")).await;
    let hint = ended.report.hint.unwrap_or_default();
    // zfs-fuse lets nobody but root ask anything; where asking is free, the hint is the whole line.
    assert!(hint.contains("zfs allow"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_that_no_snapshot_covers() {
    if !ready() {
        return;
    }
    let mut pair = pair(&[], false).await.unwrap();
    // A primary beside the pools, on whatever the machine's temporary files lie.
    let data = pair.lab.path("elsewhere/data");
    let major = pair.primary.major.clone();
    pair.primary = Server::primary(&pair.lab, "elsewhere", &major, data, &PrimaryOptions::default()).unwrap();
    refused(&pair, &pair.pipeline(&Recipe::default()), "elsewhere").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_snapshot_of_two_pools() {
    let Some(mut pair) = pair(&[], false).await else { return };
    let (data, wal) = (pair.a.path("two/data"), pair.b.path("wal/pg_wal"));
    for (pool, name) in [(&pair.a, "two"), (&pair.b, "wal")] {
        pool.create(name, &[]).unwrap();
    }
    let options = PrimaryOptions { wal_directory: Some(wal), ..PrimaryOptions::default() };
    let major = pair.primary.major.clone();
    pair.primary = Server::primary(&pair.lab, "two", &major, data, &options).unwrap();
    let atomic = Recipe::default().with("pg-quiesce", "mode = \"atomic\"");
    refused(&pair, &pair.pipeline(&atomic), "atomic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_answer_or_is_another() {
    let Some(pair) = pair(&[], false).await else { return };
    let text = pair.pipeline(&Recipe::default());
    let nobody = text.replace(&format!("port = {}\nidentity", pair.sshd.as_ref().unwrap().port), "port = 1\nidentity");
    refused(&pair, &nobody, "primary").await;
    let other = Sshd::in_lab(&pair.lab, &FarPath::Usual).unwrap();
    // The other one's port, under a `known_hosts` that says that the first one's key belongs there.
    let known = std::fs::read_to_string(&pair.sshd.as_ref().unwrap().known_hosts).unwrap();
    let known = known.replace(&pair.sshd.as_ref().unwrap().port.to_string(), &other.port.to_string());
    let file = pair.lab.path("known_hosts");
    std::fs::write(&file, known).unwrap();
    let stranger = pair.pipeline(&Recipe::default()).replace(&pair.sshd.as_ref().unwrap().known_hosts, &file);
    let stranger = stranger.replace(
        &format!("port = {}\nidentity", pair.sshd.as_ref().unwrap().port),
        &format!("port = {}\nidentity", other.port),
    );
    refused(&pair, &stranger, "primary").await;
}
