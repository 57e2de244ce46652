//! The mistakes that end in silent damage: each is made on purpose, on real servers, and is refused by
//! name or made good. Where a copy is spoilt, the old standby serves on.

mod support;

use reseed_core::config::load;
use reseed_lab::{Major, PrimaryOptions, Server, is_root};
use reseed_pg as _;
use support::pair::Pair;
use support::{Ran, is_there, run};

fn can_run() -> bool {
    let able = is_root() && Major::newest().is_ok();
    if !able {
        println!("skipped: needs root and PostgreSQL");
    }
    able
}

fn pair(settings: &[&str]) -> Pair {
    let settings = settings.iter().map(|line| (*line).to_owned()).collect();
    Pair::new(&Major::newest().unwrap(), &PrimaryOptions { settings, ..PrimaryOptions::default() })
}

/// Puts a stage that runs a script right behind this one.
fn meddled(pipeline: &str, behind: &str, script: &str) -> String {
    let at = pipeline.find(&format!("use = \"{behind}\"")).unwrap();
    let next = pipeline[at..].find("[[stage]]").map_or(pipeline.len(), |next| at + next);
    let (before, after) = pipeline.split_at(next);
    format!("{before}[[stage]]\nuse = \"meddle\"\nscript = '''{script}'''\n{after}")
}

/// `psql` against a server, as its superuser.
fn sql(server: &Server, sql: &str) -> String {
    let (psql, sockets, port) = (server.programs.join("psql"), &server.sockets, server.port);
    format!("runuser -u postgres -- '{}' -qAtX -h '{sockets}' -p {port} -d postgres -c \"{sql}\"", psql.display())
}

/// A standby that serves; then a spoilt run, which must fail and say so; then it serves still.
async fn is_taken_back(pair: &Pair, pipeline: &str, said: &[&str]) -> Ran {
    let slots = pair.slots();
    let failed = run(pipeline).await.expect(1);
    let error = failed.report.error.clone().unwrap();
    assert!(said.iter().any(|said| error.contains(said)), "{error}\n{failed:#?}");
    pair.agrees();
    assert_eq!(pair.slots(), slots);
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_standby_signal_is_no_standby() {
    if !can_run() {
        return;
    }
    let pair = pair(&[]);
    pair.seed().await;
    let spoilt = meddled(&pair.switching(), "pg-configure", r#"rm -- "$1/standby.signal""#);
    is_taken_back(&pair, &spoilt, &["has no standby.signal any more"]).await;
}

#[test]
fn a_snapshot_behind_the_end_of_the_backup_can_not_be_written_down() {
    let stage = |name: &str, more: &str| format!("[[stage]]\nuse = \"{name}\"\n{more}\n");
    let (quiesce, copy) = (stage("pg-quiesce", "cluster = \"p\""), stage("directory-copy", "into = \"/tmp/x\""));
    let (release, take) = (stage("pg-release", ""), stage("directory-take", ""));
    let head = "name = \"t\"\n[clusters.p]\nconninfo = \"host=127.0.0.1 user=x\"\n";
    let good = load(&format!("{head}{quiesce}{copy}{release}{take}"), &Default::default());
    assert!(good.is_ok(), "{good:#?}");
    let problems = load(&format!("{head}{quiesce}{release}{copy}{take}"), &Default::default()).unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
    assert!(told.iter().any(|text| text.contains("pg-release")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_atomic_is_not_taken_for_atomic() {
    if !can_run() {
        return;
    }
    let pair = pair(&[]);
    let atomic = pair.switching().replace("use = \"pg-quiesce\"\n", "use = \"pg-quiesce\"\nmode = \"atomic\"\n");
    let refused = run(&atomic).await.expect(3).report;
    assert!(refused.error.unwrap().contains("cp is not atomic"));
}

/// Without its label, a copy that was taken bit by bit starts, streams, and is broken for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_lost_its_label_is_not_started() {
    if !can_run() {
        return;
    }
    let pair = pair(&[]);
    pair.seed().await;
    for script in [r#"rm -- "$1/backup_label""#, r#"echo >> "$1/backup_label""#] {
        let spoilt = meddled(&pair.switching(), "pg-configure", script);
        is_taken_back(&pair, &spoilt, &["its server would recover from the wrong place"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_session_died_is_void() {
    if !can_run() {
        return;
    }
    let pair = pair(&[]);
    pair.seed().await;
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'reseed%'";
    let spoilt = meddled(&pair.switching(), "directory-copy", &sql(&pair.primary, kill));
    is_taken_back(&pair, &spoilt, &["the session that began the backup has died"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_whose_wal_is_gone_is_not_proven() {
    if !can_run() {
        return;
    }
    let pair = pair(&["wal_keep_size = 0", "max_wal_size = '32MB'", "min_wal_size = '32MB'"]);
    pair.seed().await;
    let turn = [
        "create table if not exists turn (n int)",
        "insert into turn values (1)",
        "select pg_switch_wal()",
        "checkpoint",
    ];
    let turn: Vec<_> = turn.iter().map(|statement| sql(&pair.primary, statement)).collect();
    let spoil = format!("set -e\n{}", vec![turn.join("\n"); 8].join("\n"));
    let without_slot = pair.switching().replace("\"primary\"\n[[", "\"primary\"\nslot = false\n[[");
    let spoilt = meddled(&without_slot, "pg-configure", &spoil);
    is_taken_back(&pair, &spoilt, &["the WAL that the standby needs has been removed on the primary"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_copy_has_of_the_primary_does_not_reach_the_standby() {
    if !can_run() {
        return;
    }
    let pair = pair(&["wal_level = logical"]);
    pair.primary.sql("select pg_create_logical_replication_slot('decoded', 'test_decoding')").ok();
    pair.primary.sql("select pg_create_physical_replication_slot('precious', true)").unwrap();
    pair.primary.sql("alter system set recovery_target = 'immediate'").unwrap();
    pair.primary.sql("alter system set recovery_target_action = 'promote'").unwrap();
    std::fs::write(format!("{}/recovery.signal", pair.primary.data), "").unwrap();
    // PostgreSQL 12 and later do not start with this file.
    std::fs::write(format!("{}/recovery.conf", pair.primary.data), "standby_mode = on\n").unwrap();
    let open = meddled(&pair.switching(), "directory-take", r#"chmod 0755 "$1""#);
    let replica = open.replace("logging_collector = false", "wal_level = \"replica\"");
    let ran = run(&replica).await.expect(0);
    pair.standby.catch_up(&pair.primary, support::pair::CATCH_UP).unwrap();
    assert_eq!(pair.standby.sql("select count(*) from pg_replication_slots").unwrap(), "0");
    assert_eq!(pair.standby.sql("select pg_is_in_recovery()").unwrap(), "t", "{ran:#?}");
    for gone in ["recovery.conf", "recovery.signal"] {
        assert!(!is_there(&format!("{}/{gone}", pair.standby.data)), "{gone}");
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&pair.standby.data).unwrap()) & 0o777;
    assert!([0o700, 0o750].contains(&mode), "{mode:o}");
    let pid = |server: &Server| std::fs::read_to_string(format!("{}/postmaster.pid", server.data)).unwrap();
    assert_ne!(pid(&pair.primary).lines().next(), pid(&pair.standby).lines().next());
    std::fs::remove_file(format!("{}/recovery.conf", pair.primary.data)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_another_cluster_or_another_timeline_is_not_proven() {
    if !can_run() {
        return;
    }
    let mut pair = pair(&[]);
    pair.seed().await;
    let major = Major::newest().unwrap();
    let options = PrimaryOptions::default();
    let other = Server::primary(&pair.lab, "other", &major, pair.lab.path("other/data"), &options).unwrap();
    let usual = pair.configure.clone();
    pair.configure = format!("primary_conninfo = \"{}\"", other.conninfo());
    let failed = run(&pair.switching()).await;
    let error = failed.report.error.clone().unwrap_or_default();
    assert!(failed.report.exit_code() != 0 && error.contains("its system identifier differs"), "{error}\n{failed:#?}");
    other.stop().unwrap();
    pair.configure = usual;
    pair.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_writes_too_little_is_refused() {
    if !can_run() {
        return;
    }
    let pair = pair(&["wal_level = minimal", "max_wal_senders = 0"]);
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("wal_level"));
}

/// A label in the primary's own directory keeps it from starting after its next crash.
#[tokio::test(flavor = "multi_thread")]
async fn no_label_is_ever_in_the_primarys_own_directory() {
    if !can_run() {
        return;
    }
    let pair = pair(&[]);
    let mut pipeline = pair.switching();
    let look = format!("[ ! -e \"{0}/backup_label\" ] && [ ! -e \"{0}/standby.signal\" ]", pair.primary.data);
    for behind in ["pg-quiesce", "directory-copy", "pg-release", "pg-configure"] {
        pipeline = meddled(&pipeline, behind, &look);
    }
    run(&pipeline).await.expect(0);
    assert!(!is_there(&format!("{}/backup_label", pair.primary.data)));
    pair.agrees();
}
