//! What may change between the check of a run and the moment of its switch: each change is made on
//! purpose, on real servers, and ends the run by its name before anything is stopped.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::item::Item;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use reseed_lab::{Major, PrimaryOptions, Server, is_root};
use reseed_pg as _;
use support::pair::Pair;
use support::{Ran, run};

/// What is done meanwhile, again and again until it says that it is done.
type Act = Box<dyn FnMut() -> bool + Send>;

static ACTS: Mutex<Option<HashMap<String, Act>>> = Mutex::new(None);

/// Does what the test wants done in the midst of a run.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Meanwhile {
    act: String,
}

register_stage!(Meanwhile);

impl StageConfig for Meanwhile {
    const NAME: &'static str = "meanwhile";

    fn build(self, _: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(self))
    }
}

#[async_trait]
impl Stage for Meanwhile {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, _: &StageCx) -> Result<Item> {
        let act = ACTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|acts| acts.remove(&self.act));
        let mut act = act.ok_or_else(|| Error::failed("nothing to do"))?;
        loop {
            let (again, done) = tokio::task::spawn_blocking(move || {
                let done = act();
                (act, done)
            })
            .await
            .map_err(|gone| Error::failed("the act failed").because(gone))?;
            act = again;
            if done {
                return Ok(input);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether real servers can be run here.
fn pair(settings: &[&str]) -> Option<Pair> {
    if !is_root() || Major::newest().is_err() {
        println!("skipped: needs root and PostgreSQL");
        return None;
    }
    let settings = settings.iter().map(|line| (*line).to_owned()).collect();
    Some(Pair::new(&Major::newest().unwrap(), &PrimaryOptions { settings, ..PrimaryOptions::default() }))
}

/// Runs the file with this act in front of a stage.
async fn run_with(text: &str, before: &str, act: impl FnMut() -> bool + Send + 'static) -> Ran {
    let name = format!("{:?}", std::thread::current().id());
    ACTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(name.clone(), Box::new(act));
    let stage = format!("[[stage]]\nuse = \"{before}\"");
    assert!(text.contains(&stage), "{text}");
    run(&text.replace(&stage, &format!("[[stage]]\nuse = \"meanwhile\"\nact = '{name}'\n{stage}"))).await
}

/// The same for something that is done once.
async fn run_after(text: &str, before: &str, mut act: impl FnMut() + Send + 'static) -> Ran {
    run_with(text, before, move || {
        act();
        true
    })
    .await
}

fn started(server: &Server) -> String {
    server.sql("select pg_postmaster_start_time()").unwrap()
}

/// Each way to switch, with the stage in front of which it is still time to refuse.
fn ways(pair: &Pair) -> [(String, &'static str); 2] {
    [(pair.switching(), "pg-switch"), (pair.in_place(), "pg-stop")]
}

#[track_caller]
fn refused(ran: Ran, reason: &str) {
    let ran = ran.expect(1);
    let error = ran.report.error.clone().unwrap_or_default();
    assert!(error.contains(reason), "not about `{reason}`: {ran:#?}");
    assert!(ran.report.hint.is_some(), "no hint: {ran:#?}");
    println!("{error}\n  hint: {}", ran.report.hint.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_was_promoted() {
    for way in 0..2 {
        let Some(pair) = pair(&[]) else { return };
        pair.seed().await;
        let (began, standby) = (started(&pair.standby), pair.standby.clone());
        let (text, stage) = &ways(&pair)[way];
        let ran = run_after(text, stage, move || drop(standby.sql("select pg_promote()").unwrap()));
        refused(ran.await, "is a primary");
        assert_eq!(started(&pair.standby), began, "it was stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_runs_on_the_data_directory() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let (standby, data, root) = (pair.standby.clone(), pair.standby.data.clone(), pair.lab.path("gone"));
    let other = Server::primary(&pair.lab, "other", &pair.primary.major, pair.lab.path("o/data"), &Default::default());
    let other = other.unwrap();
    other.stop().unwrap();
    let mut moved = other.clone();
    moved.data = data.clone();
    let began = moved.clone();
    let ran = run_after(&pair.switching(), "pg-switch", move || {
        standby.stop().unwrap();
        std::fs::rename(&data, &root).unwrap();
        std::fs::rename(&other.data, &data).unwrap();
        moved.start().unwrap();
    })
    .await;
    refused(ran, "has become another cluster meanwhile");
    assert!(began.answers(), "what runs there was stopped");
    began.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_leads_elsewhere() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let (standby, data, aside) = (pair.standby.clone(), pair.standby.data.clone(), pair.lab.path("standby/elsewhere"));
    let ran = run_after(&pair.switching(), "pg-switch", move || {
        standby.stop().unwrap();
        std::fs::rename(&data, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &data).unwrap();
        standby.start().unwrap();
    })
    .await;
    refused(ran, "the real path");
    assert!(pair.standby.streams() || pair.standby.answers(), "the old standby was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_on_a_new_timeline_or_a_standby_or_another_cluster() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let began = started(&pair.standby);
    let primary = pair.primary.clone();
    let becomes_a_standby = move || {
        primary.stop().unwrap();
        std::fs::write(format!("{}/standby.signal", primary.data), "").unwrap();
        primary.start().unwrap();
    };
    for (text, stage) in ways(&pair).into_iter().take(1) {
        refused(run_after(&text, stage, becomes_a_standby.clone()).await, "has become a standby meanwhile");
    }
    pair.primary.sql("select pg_promote()").unwrap();
    // On timeline 2 now; the standby follows it there, and the next promotion is meanwhile.
    for (text, stage) in ways(&pair) {
        let (primary, again) = (pair.primary.clone(), becomes_a_standby.clone());
        let ran = run_after(&text, stage, move || {
            again();
            primary.sql("select pg_promote()").unwrap();
        });
        refused(ran.await, "the source's timeline was");
    }
    let other = Server::primary(&pair.lab, "other", &pair.primary.major, pair.lab.path("o/data"), &Default::default());
    let other = other.unwrap();
    other.stop().unwrap();
    let port = format!("\nport = {}\n", pair.primary.port);
    let conf = format!("{}/postgresql.conf", other.data);
    std::fs::write(&conf, std::fs::read_to_string(&conf).unwrap() + &port).unwrap();
    let (primary, mut there) = (pair.primary.clone(), other);
    there.port = primary.port;
    let stops = there.clone();
    let ran = run_after(&pair.switching(), "pg-switch", move || {
        primary.stop().unwrap();
        there.start().unwrap();
    })
    .await;
    refused(ran, "system identifier was");
    stops.stop().unwrap();
    assert_eq!(started(&pair.standby), began, "the standby was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_can_not_be_asked() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let (began, primary) = (started(&pair.standby), pair.primary.clone());
    let ran = run_after(&pair.switching(), "pg-switch", move || primary.stop().unwrap()).await;
    assert!(ran.report.error.clone().unwrap().contains("can't be asked whether it is still the one"), "{ran:#?}");
    assert_eq!(started(&pair.standby), began, "the standby was stopped");
    pair.primary.start().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_kept_has_vanished_or_was_changed() {
    let Some(mut pair) = pair(&[]) else { return };
    pair.seed().await;
    pair.configure = "keep_files = [\"pg_hba.conf\", \"mine.conf\"]".into();
    let (began, mine) = (started(&pair.standby), format!("{}/mine.conf", pair.standby.data));
    for (text, stage) in ways(&pair) {
        std::fs::write(&mine, "# mine\n").unwrap();
        let file = mine.clone();
        refused(
            run_after(&text, stage, move || std::fs::write(&file, "# new\n").unwrap()).await,
            "was changed meanwhile",
        );
        let file = mine.clone();
        refused(run_after(&text, stage, move || std::fs::remove_file(&file).unwrap()).await, "has vanished meanwhile");
    }
    assert_eq!(started(&pair.standby), began, "the standby was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_has_a_higher_limit_than_the_copy() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let began = started(&pair.standby);
    let limits = |limit: u32| {
        let primary = pair.primary.clone();
        move || {
            primary.sql(&format!("alter system set max_connections = {limit}")).unwrap();
            primary.stop().unwrap();
            primary.start().unwrap();
        }
    };
    refused(run_after(&pair.switching(), "pg-switch", limits(60)).await, "`max_connections` would be 40");
    assert_eq!(started(&pair.standby), began, "the standby was stopped");
    refused(run_after(&pair.in_place(), "pg-start", limits(80)).await, "`max_connections` would be 60");
    assert!(pair.standby.answers(), "the old standby is up again");
}

/// Writes as much WAL as it is called for.
fn writer(primary: &Server, times: u32) -> impl FnMut() -> bool + Send + use<> {
    let (primary, mut left) = (primary.clone(), times);
    move || {
        let write =
            "select count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) from generate_series(1, 4)";
        primary.sql(write).unwrap();
        left = left.saturating_sub(1);
        left == 0
    }
}

fn slots(pair: &Pair) -> String {
    pair.primary.sql("select count(*) from pg_replication_slots").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_about_to_lose_the_wal_ends_the_run_first() {
    let Some(pair) = pair(&["max_slot_wal_keep_size = '640MB'", "min_wal_size = '80MB'"]) else { return };
    pair.seed().await;
    let (began, before) = (started(&pair.standby), slots(&pair));
    let tight = |key: &str| pair.switching().replace("use = \"pg-quiesce\"", &format!("use = \"pg-quiesce\"\n{key}"));
    let safe = run_with(&tight("min_safe_wal = \"600MiB\""), "pg-configure", writer(&pair.primary, 200)).await;
    refused(safe, "of WAL the source would give up what the replication slot");
    let held = run_with(&tight("max_held_wal = \"20MiB\""), "pg-configure", writer(&pair.primary, 200)).await;
    refused(held, "`max_held_wal` allows 20 MiB");
    let too_much = run(&tight("min_safe_wal = \"1GiB\"")).await.expect(3);
    assert!(too_much.report.error.unwrap().contains("keeps no more than 640 MiB"));
    assert_eq!((started(&pair.standby), slots(&pair)), (began, before));
    pair.agrees();
    run(&pair.switching()).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_or_lost_ends_the_run() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let began = started(&pair.standby);
    let primary = pair.primary.clone();
    let drops = move || {
        primary.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active").unwrap();
        false
    };
    refused(run_with(&pair.switching(), "pg-configure", drops).await, "has been dropped meanwhile");
    let primary = pair.primary.clone();
    let loses = move || {
        primary.sql("alter system set max_slot_wal_keep_size = '1MB'").unwrap();
        primary.reload().unwrap();
        primary
            .sql("select count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) from generate_series(1, 40)")
            .unwrap();
        primary.sql("checkpoint").unwrap();
        false
    };
    refused(run_with(&pair.switching(), "pg-configure", loses).await, "gives up the WAL");
    assert_eq!(started(&pair.standby), began, "the standby was stopped");
}

/// Process and key of the advisory lock on the primary; nothing where there is none.
const LOCK: &str = "select pid || ' ' || classid || ' ' || objid from pg_locks where locktype = 'advisory' and granted";

/// Ends the session that has the lock, and has it itself until it is ended. Its name is that of a run.
const ROBS: &str = "set application_name = 'reseed-other lock'; do $$ declare l record; begin \
    select * into l from pg_locks where locktype = 'advisory' and granted; perform pg_terminate_backend(l.pid); \
    while not pg_try_advisory_lock(l.classid::int8::bit(32)::int4, l.objid::int8::bit(32)::int4) loop \
    perform pg_sleep(0.001); end loop; end $$; select pg_sleep(600)";

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_the_database_that_is_lost_is_taken_again_or_ends_the_run() {
    let Some(pair) = pair(&[]) else { return };
    pair.seed().await;
    let (primary, mut first) = (pair.primary.clone(), None);
    let lost = move || {
        let held = primary.sql(LOCK).unwrap();
        let first = first.get_or_insert_with(|| {
            primary.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'").unwrap();
            held.clone()
        });
        !held.is_empty() && held != *first
    };
    run_with(&pair.switching(), "pg-configure", lost).await.expect(0);
    while !pair.primary.sql(LOCK).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }

    let (began, before) = (started(&pair.standby), slots(&pair));
    let (primary, mut robber) = (pair.primary.clone(), None);
    let robbed = move || {
        let primary = primary.clone();
        robber.get_or_insert_with(|| std::thread::spawn(move || drop(primary.sql(ROBS))));
        false
    };
    refused(run_with(&pair.switching(), "pg-configure", robbed).await, "another run makes the standby");
    // Nor does a run begin.
    let ran = run(&pair.switching()).await;
    assert!(ran.report.error.as_ref().unwrap().contains("reseed-other since"), "{ran:#?}");
    refused(ran, "another run makes the standby");
    assert_eq!((started(&pair.standby), slots(&pair)), (began, before));
    pair.primary.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'").unwrap();
    run(&pair.switching()).await.expect(0);
}
