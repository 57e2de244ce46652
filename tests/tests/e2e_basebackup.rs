//! Whole runs by base backup: plain directories, no SSH, PostgreSQL under load throughout.

mod basebackup;

use basebackup::{Scene, State, major, majors};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::run::Trial;
use std::time::Duration;

/// The first major version that has incremental backups.
const INCREMENTAL: u32 = 17;

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_and_reset_again_in_every_version() {
    for major in majors() {
        let number = major.number;
        println!("PostgreSQL {number}");
        let mut scene = Scene::of(major);
        let seed = scene.succeed().await.report;
        assert!(seed.full && seed.from_guid.is_none() && seed.downtime_seconds.is_none());
        assert_eq!(seed.to_guid.is_some(), number >= 13, "from 13 on a manifest identifies a backup");
        let mut before = seed;
        for _ in 0..2 {
            let ended = scene.succeed().await;
            let story = ended.story();
            let reset = ended.report;
            assert_eq!(reset.full, number < INCREMENTAL, "{story}");
            assert!(reset.downtime_seconds.is_some_and(|seconds| seconds < 20.0), "{story}");
            if number < INCREMENTAL {
                assert!(story.contains(&format!("the whole: PostgreSQL {number} gives no incremental")), "{story}");
            } else {
                assert_eq!(reset.from_guid, before.to_guid, "an increment starts where the last run arrived");
                assert!(reset.stream_bytes < before.stream_bytes || !before.full, "{story}");
            }
            before = reset;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_bounded_and_what_is_old_goes() {
    let Some(major) = major(18) else { return };
    let mut scene = Scene::of(major);
    scene.receive = "keep_increments = 1".into();
    scene.last = "keep_old = \"0s\"".into();
    let mut whole = vec![];
    for _ in 0..5 {
        whole.push(scene.succeed().await.report.full);
        let names = scene.store();
        assert!(!names.iter().any(|name| name.starts_with("old-") || name.starts_with("copy-")), "{names:?}");
    }
    assert_eq!(whole, [true, false, true, false, true]);
    assert_eq!(scene.store().iter().filter(|name| name.starts_with("backup-")).count(), 1);
    scene.receive = "keep_increments = 0".into();
    assert!(scene.succeed().await.report.full);
    assert_eq!(scene.store().iter().filter(|name| name.starts_with("backup-")).count(), 0);
    scene.last = "keep_old = \"1h\"".into();
    scene.succeed().await;
    let names = scene.store();
    assert_eq!(names.iter().filter(|name| name.starts_with("old-")).count(), 2, "with its time: {names:?}");
}

/// Something that a test does while the stream flows.
type Act = Box<dyn FnOnce() + Send>;

const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_in_whichever_stage_everything_is_as_it_was() {
    let Some(major) = major(18) else { return };
    let mut scene = Scene::of(major);
    scene.succeed().await;
    let faults = [
        Fault::ErrorBefore,
        Fault::ErrorDuring(SOON),
        Fault::ErrorDuring(LATER),
        Fault::ErrorAfter,
        Fault::PanicAfter,
        Fault::CancelDuring(SOON),
        Fault::CancelDuring(LATER),
        Fault::StreamBreaks(1 << 20),
    ];
    let stages = Trial::of(&scene.pipeline()).stages();
    for (index, stage) in stages.iter().enumerate() {
        for fault in faults.iter().filter(|fault| index == 0 || !matches!(fault, Fault::StreamBreaks(_))) {
            println!("{stage}: {fault:?}");
            let before = State::of(&scene);
            let ended = Trial::of(&scene.pipeline()).wrap(index, Faulty::wrap(*fault)).run().await;
            assert_eq!(ended.report.exit_code(), fault.exit_code(), "{stage}, {fault:?}\n{}", ended.story());
            scene.is_as_it_was(&before, &ended);
        }
    }
    let ended = scene.succeed().await;
    assert!(!ended.report.full, "{}", ended.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_seeding_that_fails_leaves_nothing() {
    let Some(major) = major(15) else { return };
    let mut scene = Scene::of(major);
    for fault in [Fault::ErrorAfter, Fault::CancelDuring(LATER)] {
        for index in 0..4 {
            let ended = Trial::of(&scene.pipeline()).wrap(index, Faulty::wrap(fault)).run().await;
            assert_eq!(ended.report.exit_code(), fault.exit_code(), "{}", ended.story());
            assert!(scene.store().is_empty() && !scene.is_there("data"), "{}", ended.story());
            assert!(scene.slots().is_empty(), "{}", ended.story());
        }
    }
    scene.succeed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_either_end_is_killed_is_taken_back() {
    let Some(major) = major(15) else { return };
    let mut scene = Scene::of(major);
    scene.succeed().await;
    let primary = scene.primary.clone();
    let end_sender = move || {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where backend_type = 'walsender' and application_name ~ '^reseed-'";
        assert_eq!(primary.sql(sql).unwrap(), "t");
    };
    let port = scene.primary.port;
    let end_program = move || basebackup::kill_pg_basebackup(port);
    let ends: [(&str, Act); 2] =
        [("could not read COPY data", Box::new(end_sender)), ("was ended by a signal", Box::new(end_program))];
    for (reason, act) in ends {
        let before = State::of(&scene);
        let ended = Trial::of(&scene.pipeline()).wrap(0, Faulty::act(act)).run().await;
        assert_eq!(ended.report.exit_code(), 1, "{}", ended.story());
        let error = ended.report.error.clone().unwrap_or_default();
        assert!(error.contains(reason), "{error}");
        scene.is_as_it_was(&before, &ended);
    }
    scene.succeed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_work_is_refused_before_anything_is_touched() {
    let Some(major) = major(18) else { return };
    let mut scene = Scene::of(major);
    let text = scene.pipeline();

    let elsewhere = text.replace(&scene.store_path(), "/dev/shm/pg.reseed");
    scene.refused(&elsewhere, "is on another file system than", "beside the data directory").await;
    let inside = text.replace(&scene.store_path(), &format!("{}/reseed", scene.standby.data));
    scene.refused(&inside, "lie one inside the other", ".reseed").await;

    std::fs::create_dir(scene.store_path()).unwrap();
    std::fs::write(format!("{}/precious", scene.store_path()), "x").unwrap();
    scene.refused(&text, "is not empty, and reseed did not make it", "mv ").await;
    std::fs::write(format!("{}/.reseed", scene.store_path()), "/data/other\n").unwrap();
    scene.refused(&text, "holds the backups of another standby, in /data/other", "into = ").await;
    std::fs::remove_dir_all(scene.store_path()).unwrap();

    scene.primary.sql("alter role replicator noreplication").unwrap();
    scene.refused(&text, "may not replicate", "ALTER ROLE replicator REPLICATION;").await;
    scene.primary.sql("alter role replicator replication").unwrap();

    let hba = format!("{}/pg_hba.conf", scene.primary.data);
    let own = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host replication replicator 127.0.0.1/32 reject\n{own}")).unwrap();
    scene.primary.reload().unwrap();
    scene.refused(&text, "is not let in at the source for replication", "host replication replicator ADDRESS").await;
    std::fs::write(&hba, own).unwrap();
    scene.primary.reload().unwrap();

    let old = text.replace("bin_directory = ", "bin_directory = \"/nowhere\" # ");
    scene.refused(&old, "no program `postgres`", "bin_directory").await;

    scene.succeed().await;
    let always = text.replace("use = \"pg-basebackup\"", "use = \"pg-basebackup\"\nincremental = \"always\"");
    scene.remove_wal_summaries();
    scene.refused(&always, "has no WAL summary of what was written at", "incremental").await;
    let ended = scene.succeed().await;
    assert!(ended.report.full && ended.story().contains("the whole: the source has no WAL summary"));
    scene.primary.sql("alter system set summarize_wal = off").unwrap();
    scene.primary.reload().unwrap();
    scene.refused(&always, "summarize_wal = off", "ALTER SYSTEM SET summarize_wal = on").await;
    assert!(scene.succeed().await.report.full);

    scene.primary.tablespace("apart", &scene.lab.path("apart")).unwrap();
    scene.refused(&text, "tablespace(s) outside its data directory", "SET TABLESPACE pg_default").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_damaged_on_its_way_is_not_switched_to() {
    let Some(major) = major(15) else { return };
    let mut scene = Scene::of(major);
    scene.succeed().await;
    let before = State::of(&scene);
    let ended = Trial::of(&scene.pipeline()).wrap(0, basebackup::Damaged::wrap).run().await;
    assert_eq!(ended.report.exit_code(), 1, "{}", ended.story());
    assert!(ended.report.error.clone().unwrap().contains("is not what its manifest says"), "{}", ended.story());
    scene.is_as_it_was(&before, &ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_user_needs_no_root() {
    for number in [15, 18] {
        let Some(major) = major(number) else { continue };
        let scene = Scene::of(major);
        let seed = scene.as_plain_user();
        assert_eq!((&seed["outcome"], &seed["full"]), (&"done".into(), &true.into()), "{seed}");
        scene.agrees();
        let reset = scene.as_plain_user();
        assert_eq!((&reset["outcome"], &reset["full"]), (&"done".into(), &(number < INCREMENTAL).into()), "{reset}");
        assert!(reset["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{reset}");
        scene.agrees();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_another_machine_are_no_hindrance() {
    let Some(major) = major(18) else { return };
    let mut scene = Scene::of(major);
    scene.ask_for_a_password();
    let secret = scene.lab.path("secret");
    let text = scene.pipeline();
    scene.refused(&text, "password", ".pgpass").await;
    std::fs::write(&secret, "it's: a\\secret\n").unwrap();
    let with = format!("[clusters.primary]\npassword = {{ file = \"{secret}\" }}\n");
    scene.edit = vec![("[clusters.primary]\n".into(), with)];
    assert!(scene.succeed().await.report.full);
    let far = scene.far_standby();
    scene.edit.push(far);
    let ended = scene.succeed().await;
    assert!(!ended.report.full);
    assert!(!ended.story().contains("a\\\\secret"), "{}", ended.story());
}
