//! The stages of the standby on real servers, each scenario with a primary and a standby of its own.

mod support;

use reseed_lab::{Major, PrimaryOptions, Server, installed_majors, is_root};
use reseed_pg as _;
use support::pair::{CATCH_UP, Pair};
use support::{is_there, run, run_until};

/// Whether real servers can be run here.
fn can_run() -> bool {
    let able = is_root() && Major::newest().is_ok();
    if !able {
        println!("skipped: needs root and PostgreSQL");
    }
    able
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_left_in_the_copy_does_not_end_the_standby() {
    if !can_run() {
        return;
    }
    let settings = vec!["recovery_target_name = 'x'".into(), "recovery_target_timeline = 'current'".into()];
    let pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions { settings, ..PrimaryOptions::default() });
    for sql in [
        "alter system set recovery_target_action = 'promote'",
        "alter system set primary_conninfo = 'host=nowhere'",
        "alter system set restore_command = 'false'",
        "alter system set work_mem = '5MB'",
        "select pg_create_physical_replication_slot('precious', true)",
    ] {
        pair.primary.sql(sql).unwrap();
    }
    run(&pair.switching()).await.expect(0);
    pair.standby.catch_up(&pair.primary, CATCH_UP).unwrap();
    let shown = "select current_setting('work_mem'), current_setting('restore_command'), \
                 current_setting('recovery_target_name'), current_setting('recovery_target_timeline'), \
                 (select count(*) from pg_replication_slots)";
    assert_eq!(pair.standby.sql(shown).unwrap(), "5MB|||latest|0");
}

/// WAL and a tablespace apart, as on a server of some size.
fn spread(lab_root: &str) -> PrimaryOptions {
    PrimaryOptions { wal_directory: Some(format!("{lab_root}/wal")), ..PrimaryOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_in_every_version() {
    if !can_run() {
        return;
    }
    for major in installed_majors().values() {
        println!("PostgreSQL {}", major.number);
        let mut pair = Pair::new(major, &PrimaryOptions::default());
        let seeded = pair.seed().await;
        assert!(seeded.said("first seeding"), "{seeded:#?}");
        assert_eq!(seeded.report.downtime_seconds, None, "nothing served before");
        let slots = pair.slots();
        assert_eq!(slots.len(), 1);

        pair.primary.sql("create table more as select generate_series(1, 1000) as n").unwrap();
        let hba = format!("{}/pg_hba.conf", pair.standby.data);
        let own = std::fs::read_to_string(&hba).unwrap() + "# the standby's own\n";
        std::fs::write(&hba, &own).unwrap();
        pair.configure = "keep_files = [\"pg_hba.conf\"]".into();
        let load = pair.primary.load(2).unwrap();
        let reset = run(&pair.switching()).await.expect(0);
        drop(load);
        pair.agrees();
        assert!(reset.report.downtime_seconds.unwrap() < 20.0, "{reset:#?}");
        assert!(reset.said("proven: in recovery, streaming"), "{reset:#?}");
        assert_eq!(pair.conf("pg_hba.conf"), own);
        let now = pair.slots();
        assert_eq!(now.len(), 1, "{reset:#?}");
        assert_ne!(now, slots, "each run has a slot of its own");

        run(&pair.in_place()).await.expect(0);
        pair.agrees();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_and_tablespaces_go_where_they_shall() {
    if !can_run() {
        return;
    }
    for major in installed_majors().values() {
        let root = std::env::temp_dir().join(format!("reseed-standby-{}-{}", std::process::id(), major.number));
        let root = root.to_str().unwrap();
        let mut pair = Pair::new(major, &spread(root));
        let (from, to) = (pair.lab.path("primary/a space"), pair.lab.path("standby/a space"));
        pair.primary.tablespace("apart", &from).unwrap();
        pair.primary.sql("create table far (n int) tablespace apart; insert into far values (7)").unwrap();
        let refused = run(&pair.switching()).await.expect(3);
        assert!(refused.report.error.unwrap().contains("in use by the primary on this same machine"));
        let wal = pair.lab.path("standby/my wal");
        pair.configure = format!("wal_directory = \"{wal}\"\ntablespace_mapping = {{ \"{from}\" = \"{to}\" }}");
        pair.seed().await;
        assert_eq!(pair.standby.sql("select n from far").unwrap(), "7");
        let link = std::fs::read_link(format!("{}/pg_wal", pair.standby.data)).unwrap();
        assert_eq!(link.to_str(), Some(wal.as_str()));
        // The old standby's own places count without a word.
        pair.configure = String::new();
        run(&pair.switching()).await.expect(0);
        pair.agrees();
        assert_eq!(pair.standby.sql("select n from far").unwrap(), "7");
        assert!(is_there(&format!("{wal}/archive_status")));
        std::fs::remove_dir_all(root).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_proven_is_taken_back() {
    if !can_run() {
        return;
    }
    let mut pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions::default());
    pair.seed().await;
    let (slots, started) = (pair.slots(), pair.standby.sql("select pg_postmaster_start_time()").unwrap());
    let usual = pair.configure.clone();

    pair.configure = "primary_slot = \"nobody_made_this\"".into();
    for pipeline in [pair.switching(), pair.in_place()] {
        let failed = run(&pipeline).await.expect(1);
        let error = failed.report.error.clone().unwrap();
        assert!(error.contains("replication slot \"nobody_made_this\" does not exist"), "{error}");
        assert!(failed.report.seconds < 30.0, "what waiting can't mend fails at once: {failed:#?}");
        pair.agrees();
        assert_eq!(pair.slots(), slots);
    }
    assert_ne!(pair.standby.sql("select pg_postmaster_start_time()").unwrap(), started);

    // Found on the copy, before anything stops.
    let started = pair.standby.sql("select pg_postmaster_start_time()").unwrap();
    pair.configure = usual;
    let low = pair.switching().replace("logging_collector = false", "max_connections = 10");
    let refused = run(&low).await.expect(3);
    assert!(refused.report.error.unwrap().contains("`max_connections` would be 10 on the standby, but is 40"));
    let broken = pair.switching().replace("logging_collector = false", "work_mem = \"nonsense\"");
    let failed = run(&broken).await.expect(1);
    assert!(failed.report.error.unwrap().contains("the copy's configuration can't be read"));
    let dies = pair.switching().replace("logging_collector = false", "shared_preload_libraries = \"no_such_library\"");
    let failed = run(&dies).await.expect(1);
    let error = failed.report.error.clone().unwrap();
    assert!(error.contains("a library that the configuration asks for is missing"), "{error}");
    pair.agrees();
    assert_ne!(pair.standby.sql("select pg_postmaster_start_time()").unwrap(), started);
    assert_eq!(pair.slots(), slots);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_time_leaves_the_old_standby_serving() {
    if !can_run() {
        return;
    }
    let pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions::default());
    pair.seed().await;
    let mut slots = pair.slots();
    let mut undone = 0;
    for (pipeline, stages) in [
        (pair.switching(), ["directory-copy begins", "pg-configure begins", "pg-switch begins"]),
        (pair.in_place(), ["pg-stop begins", "directory-take begins", "pg-start begins"]),
    ] {
        for (stage, after) in stages.iter().flat_map(|stage| [0, 40, 120, 250].map(|after| (*stage, after))) {
            let cancelled = run_until(&pipeline, Some((stage, after))).await;
            pair.agrees();
            // A cancel that comes when everything is proven comes too late.
            if cancelled.report.exit_code() != 0 {
                let cancelled = cancelled.expect(130);
                assert_eq!(pair.slots(), slots, "{stage} {after} {cancelled:#?}");
                undone += 1;
            } else {
                slots = pair.slots();
            }
        }
    }
    assert!(undone >= 12, "{undone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_replaced_is_refused() {
    if !can_run() {
        return;
    }
    let major = Major::newest().unwrap();
    let mut pair = Pair::new(&major, &PrimaryOptions::default());
    let own = pair.switching().replace(&pair.standby.data, &pair.primary.data);
    let refused = run(&own).await.expect(3).report;
    assert!(refused.error.unwrap().contains("is the primary's own data directory"));

    let other = Server::primary(&pair.lab, "other", &major, pair.standby.data.clone(), &PrimaryOptions::default());
    let other = other.unwrap();
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("is another cluster: its system identifier is"));
    other.stop().unwrap();
    run(&pair.switching()).await.expect(3);
    std::fs::remove_dir_all(&pair.standby.data).unwrap();

    std::fs::create_dir(&pair.standby.data).unwrap();
    std::fs::write(format!("{}/precious", pair.standby.data), "x").unwrap();
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("is not empty and is no data directory"));
    std::fs::remove_dir_all(&pair.standby.data).unwrap();

    pair.seed().await;
    pair.standby.sql("select pg_promote()").unwrap();
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("is a primary"), "{:?}", refused.hint);
    pair.standby.stop().unwrap();
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("was a primary when it was last up"));
    pair.configure = "keep_files = [\"none.conf\"]\nallow_primary = true".into();
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains("shall be kept, but is not there"));
    pair.configure = "allow_primary = true".into();
    let rejoined = run(&pair.switching()).await.expect(0);
    assert_eq!(rejoined.report.downtime_seconds, None, "it did not serve as a standby");
    pair.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_wal_sender_goes_from_the_old_standby_to_the_new() {
    if !can_run() {
        return;
    }
    let settings = vec!["max_wal_senders = 1".into()];
    let pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions { settings, ..PrimaryOptions::default() });
    pair.seed().await;
    run(&pair.switching()).await.expect(0);
    run(&pair.in_place()).await.expect(0);
    pair.agrees();
    let without_slot = pair.switching().replace("\"primary\"\n[[", "\"primary\"\nslot = false\n[[");
    for _ in 0..2 {
        run(&without_slot).await.expect(0);
        assert!(pair.slots().is_empty());
        pair.agrees();
    }

    // In the hands of another it is not free, whether the standby runs or not.
    pair.standby.stop().unwrap();
    let directory = pair.lab.path("received");
    std::fs::create_dir(&directory).unwrap();
    reseed_lab::User::named("postgres").unwrap().own(directory.as_ref()).unwrap();
    let mut taker = pair.primary.client("pg_receivewal").args(["-D", &directory]).start().unwrap();
    while pair.primary.sql("select count(*) from pg_stat_replication").unwrap() != "1" {
        assert!(taker.try_wait().unwrap().is_none(), "pg_receivewal ended");
    }
    for up in [false, true] {
        if up {
            pair.standby.start().unwrap();
        }
        let refused = run(&pair.switching()).await.expect(3).report;
        assert!(refused.error.unwrap().contains("no free WAL sender: 1 of max_wal_senders = 1 in use"));
    }
    taker.kill().unwrap();
    taker.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_full_pages_is_for_copy_on_write_only() {
    if !can_run() {
        return;
    }
    let settings = vec!["full_page_writes = off".into()];
    let mut pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions { settings, ..PrimaryOptions::default() });
    let lies_on = reseed_lab::Tool::new("stat").args(["-f", "-c", "%T", &pair.lab.path("")]).run().unwrap();
    if ["zfs", "btrfs", "bcachefs"].contains(&lies_on.trim()) {
        return println!("skipped: temporary files lie on {lies_on}");
    }
    let refused = run(&pair.switching()).await.expect(3).report;
    assert!(refused.error.unwrap().contains(&format!("lies on {}, where a crash", lies_on.trim())));
    assert!(refused.hint.unwrap().contains("allow_torn_pages = true"));
    pair.configure = "allow_torn_pages = true".into();
    pair.seed().await;
    pair.primary.sql("alter system set full_page_writes = on").unwrap();
    pair.primary.reload().unwrap();
    pair.configure = String::new();
    pair.seed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_answers_nothing_is_proven_by_its_primary() {
    if !can_run() {
        return;
    }
    let pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions::default());
    let silent = pair.switching().replace("logging_collector = false", "hot_standby = false");
    for _ in 0..2 {
        let ran = run(&silent).await.expect(0);
        assert!(ran.said("the proof comes from the primary"), "{ran:#?}");
        assert_eq!(pair.slots().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_operator_s_own_controls_the_server() {
    if !can_run() {
        return;
    }
    let pair = Pair::new(&Major::newest().unwrap(), &PrimaryOptions::default());
    let pg_ctl = |verb: &str| {
        let (program, log) = (format!("{}/pg_ctl", pair.standby.programs.display()), pair.lab.path("standby/log"));
        let argv = ["runuser", "-u", "postgres", "--", &program, "-D", &pair.standby.data, "-w", "-l", &log, verb];
        argv.map(|arg| format!("{arg:?}")).join(", ")
    };
    std::fs::write(pair.lab.path("standby/log"), "").unwrap();
    reseed_lab::User::named("postgres").unwrap().own(pair.lab.path("standby/log").as_ref()).unwrap();
    let service = format!("{{ use = \"command\", start = [{}], stop = [{}] }}", pg_ctl("start"), pg_ctl("stop"));
    let own = |text: String| text.replace("{ use = \"pg-ctl\" }", &service);
    run(&own(pair.switching())).await.expect(0);
    for pipeline in [pair.switching(), pair.in_place()] {
        assert!(run(&own(pipeline)).await.expect(0).report.downtime_seconds.is_some());
        pair.agrees();
    }
    let wrong = pair.switching().replace("{ use = \"pg-ctl\" }", &service.replace("runuser", "no-such-program"));
    let refused = run(&wrong).await.expect(3).report;
    assert!(refused.error.unwrap().contains("there is no program `no-such-program`"));
}

/// A cluster of Debian's, gone with its configuration at the end.
struct DebianCluster(String);

fn debian(program: &str, args: &[&str]) -> bool {
    let tool = reseed_lab::Tool::new(program).args(args.iter().map(|arg| (*arg).to_owned()));
    tool.output().is_ok_and(|output| output.status.success())
}

impl Drop for DebianCluster {
    fn drop(&mut self) {
        debian("pg_dropcluster", &["--stop", "15", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_debian_s_is_controlled_and_keeps_its_configuration_outside() {
    let Some(major) = installed_majors().remove(&15).filter(|_| can_run() && debian("pg_lsclusters", &[])) else {
        return println!("skipped: needs root and Debian's PostgreSQL 15");
    };
    let pair = Pair::new(&major, &PrimaryOptions::default());
    let cluster = DebianCluster(format!("reseed{}", std::process::id()));
    let (port, name) = (pair.standby.port.to_string(), &cluster.0);
    assert!(debian("pg_createcluster", &["15", name, "-d", &pair.standby.data, "-p", &port, "--start-conf", "manual"]));
    std::fs::remove_dir_all(&pair.standby.data).unwrap();
    let service = format!("{{ use = \"pg-ctlcluster\", name = \"{name}\" }}");
    let own = pair.switching().replace("{ use = \"pg-ctl\" }", &service);
    run(&own).await.expect(0);
    pair.agrees();
    assert!(run(&own).await.expect(0).report.downtime_seconds.is_some());
    pair.agrees();
    let conf = format!("/etc/postgresql/15/{name}/postgresql.conf");
    assert_eq!(pair.standby.sql("show config_file").unwrap(), conf);
    let debians = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, debians.clone() + "max_connections = 20\n").unwrap();
    let refused = run(&own).await.expect(3).report;
    assert!(refused.error.unwrap().contains("`max_connections` would be 20 on the standby, but is 40"));
    std::fs::write(&conf, debians).unwrap();
    let bad = own.replace("logging_collector = false", "ssl_cert_file = \"/none\"\nssl = true");
    let error = run(&bad).await.expect(1).report.error.unwrap();
    assert!(error.contains("could not load server certificate file \"/none\""), "{error}");
    pair.agrees();
    let other = own.replace(&format!("name = \"{name}\" }}"), "name = \"nobody\" }");
    assert!(run(&other).await.expect(3).report.error.unwrap().contains("there is no cluster `nobody` of Debian's"));
}
