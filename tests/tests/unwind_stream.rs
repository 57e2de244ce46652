//! What breaks from outside while the stream flows: processes are killed, the stream is cut, the
//! pool is full.

use reseed_lab::{Pair, Storage, Switch, Tool};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::run::Trial;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{ready, ready_for};

fn position(trial: &Trial, stage: &str) -> usize {
    trial.stages().iter().position(|name| name == stage).unwrap()
}

/// What only processes of this pair have in their command lines.
fn marks(pair: &Pair) -> Vec<String> {
    vec![pair.a.name.clone(), pair.b.name.clone(), pair.lab.path("")]
}

/// Kills, with SIGKILL, the marked processes whose command line begins with these words.
fn kill(marks: &[String], words: &str) -> usize {
    let ours = |line: &str| marks.iter().any(|mark| line.contains(mark)) && line.starts_with(words);
    let found = processes().into_iter().filter(|(_, line)| ours(line));
    found.filter(|(pid, _)| Tool::new("kill").args(["-KILL", pid]).run().is_ok()).count()
}

/// Pid and command line of every process but this one.
fn processes() -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = pids.filter(|pid| pid.parse::<u32>().is_ok_and(|pid| pid != std::process::id()));
    let line = |pid: &String| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.map(|pid| (pid.clone(), String::from_utf8_lossy(&line(&pid)).replace('\0', " "))).collect()
}

async fn survives_the_death_of(storage: Storage, words: &'static str) {
    if !ready_for(storage) {
        return;
    }
    let switches: &[Switch] = match storage {
        Storage::Zfs => &[Switch::Clone, Switch::InPlace],
        Storage::Btrfs | Storage::Directories => &[Switch::Clone],
    };
    for switch in switches {
        let (mut scene, recipe) = Scene::with_much_to_send(storage, *switch).await;
        let (before, marks) = (State::of(&scene), marks(&scene));
        let trial = Trial::of(&scene.pipeline(&recipe));
        let index = position(&trial, "ssh-transfer");
        let act = move || assert!(kill(&marks, words) > 0, "nothing to kill: {words}");
        let ended = trial.wrap(index, Faulty::act(act)).run().await;
        scene.must_be_undone(&before, &ended);
        scene.succeed(&recipe).await;
    }
}

async fn survives_a_stream_that_stands_still(storage: Storage, send: &str) {
    if !ready_for(storage) {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(storage, Switch::Clone).await;
    for (stage, bytes) in [(send, 0), ("ssh-transfer", 20_000_000)] {
        let before = State::of(&scene);
        let trial = Trial::of(&format!("stall = \"3s\"\n{}", scene.pipeline(&recipe)));
        let index = position(&trial, stage);
        let ended = trial.wrap(index, Faulty::wrap(Fault::StreamStalls(bytes))).run().await;
        scene.must_be_undone(&before, &ended);
        // The end that stands still is in front of every meter of the run but the receiver's.
        let told = |error: &str| error.contains("no byte has moved for 3s: ") && error.ends_with("gives none");
        assert!(ended.report.error.as_deref().is_some_and(told), "{}", ended.story());
    }
    scene.succeed(&recipe).await;
}

async fn survives_a_cut_stream(storage: Storage, send: &str) {
    if !ready_for(storage) {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(storage, Switch::Clone).await;
    for stage in [send, "ssh-transfer"] {
        for bytes in [0, 100_000, 20_000_000] {
            let before = State::of(&scene);
            let trial = Trial::of(&scene.pipeline(&recipe));
            let index = position(&trial, stage);
            let ended = trial.wrap(index, Faulty::wrap(Fault::StreamBreaks(bytes))).run().await;
            scene.must_be_undone(&before, &ended);
        }
    }
    scene.succeed(&recipe).await;
}

macro_rules! matrix {
    ($($module:ident: $storage:expr, $send:expr, $send_stage:expr, $receive:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_killed_sender() {
                survives_the_death_of($storage, $send).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_killed_ssh() {
                survives_the_death_of($storage, "ssh ").await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_killed_receiver() {
                survives_the_death_of($storage, $receive).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_stream_that_stands_still() {
                survives_a_stream_that_stands_still($storage, $send_stage).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_stream_that_is_cut() {
                survives_a_cut_stream($storage, $send_stage).await;
            }
        }
    )*};
}

matrix! {
    zfs: Storage::Zfs, "zfs send", "zfs-send", "zfs receive";
    btrfs: Storage::Btrfs, "btrfs send", "btrfs-send", "btrfs receive";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool() {
    if !ready() {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(Storage::Zfs, Switch::Clone).await;
    // What the live standby itself still has to write must not be what fails.
    let live = scene.b.dataset("pgsql");
    Tool::new("zfs").args(["set", "reservation=600M", &live]).run().unwrap();
    scene.calm();
    let filler = scene.b.path("filler");
    fill(&scene, &filler);
    let before = State::of(&scene);
    let refused = Trial::of(&scene.pipeline(&recipe)).run().await.report;
    assert_eq!(refused.exit_code(), 3, "{refused:#?}");
    assert!(refused.error.unwrap().contains("must stay free (`min_free`)"));
    assert!(refused.hint.unwrap().starts_with("make room for "));
    let to_the_brim = recipe.clone().with("zfs-receive", "min_free = \"0%\"");
    let ended = Trial::of(&scene.pipeline(&to_the_brim)).run().await;
    scene.must_be_undone(&before, &ended);
    std::fs::remove_file(&filler).unwrap();
    Tool::new("zfs").args(["set", "reservation=none", &live]).run().unwrap();
    scene.go_on();
    scene.succeed(&recipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_btrfs() {
    if !ready_for(Storage::Btrfs) {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(Storage::Btrfs, Switch::Clone).await;
    scene.calm();
    let filler = scene.b.path("filler");
    let recipe = recipe.with("btrfs-receive", "min_free = \"0%\"");
    // What will come is known before anything is received, and does not fit.
    fill_btrfs(&scene.b.mountpoint, &filler, 40);
    let before = State::of(&scene);
    let refused = Trial::of(&scene.pipeline(&recipe)).run().await;
    scene.must_be_undone(&before, &refused);
    assert!(refused.report.error.as_deref().unwrap().contains("MiB will come"), "{}", refused.story());
    std::fs::remove_file(&filler).unwrap();
    // It fits, and then something else takes the room.
    let (before, mountpoint, file) = (State::of(&scene), scene.b.mountpoint.clone(), filler.clone());
    let trial = Trial::of(&slow(&scene.pipeline(&recipe)));
    let index = position(&trial, "ssh-transfer");
    let ended = trial.wrap(index, Faulty::act(move || fill_btrfs(&mountpoint, &file, 20))).run().await;
    std::fs::remove_file(&filler).unwrap();
    scene.must_be_undone(&before, &ended);
    assert!(ended.report.error.as_deref().unwrap().contains("No space left on device"), "{}", ended.story());
    scene.go_on();
    scene.succeed(&recipe).await;
}

/// Leaves so many megabytes.
fn fill_btrfs(mountpoint: &str, filler: &str, left: u64) {
    let available = || -> u64 {
        let df = Tool::new("df").args(["--output=avail", "-B1M", mountpoint]).run().unwrap();
        df.lines().last().unwrap().trim().parse().unwrap()
    };
    // What it calls available holds metadata too: it is filled to the brim, and some is given back.
    let full = Tool::new("dd").args(["if=/dev/zero", "bs=1M", &format!("of={filler}")]).run().unwrap_err();
    assert!(full.to_string().contains("No space left"), "{full}");
    Tool::new("truncate").args([format!("--size=-{left}M"), filler.to_owned()]).run().unwrap();
    Tool::new("sync").args(["-f", mountpoint]).run().unwrap();
    assert!(available() <= left + 5, "{} MiB are left", available());
}

/// The pipeline with a slow wire, so that there is time for something to happen.
fn slow(text: &str) -> String {
    let transfer = "[[stage]]\nuse = \"zstd\"";
    assert!(text.contains(transfer), "{text}");
    text.replace(transfer, &format!("[[stage]]\nuse = \"throttle\"\nrate = \"4MiB/s\"\n\n{transfer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_fills_up_meanwhile() {
    if !ready() {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(Storage::Zfs, Switch::Clone).await;
    let (before, filler) = (State::of(&scene), scene.b.path("filler"));
    let (pool, file) = (scene.b.name.clone(), filler.clone());
    let trial = Trial::of(&slow(&scene.pipeline(&recipe)));
    let index = position(&trial, "ssh-transfer");
    let ended = trial.wrap(index, Faulty::act(move || fill_pool(&pool, &file, 100))).run().await;
    std::fs::remove_file(&filler).unwrap();
    scene.must_be_undone(&before, &ended);
    assert!(ended.report.error.as_deref().unwrap().contains("must stay free"), "{}", ended.story());
    scene.succeed(&recipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_about_to_lose_its_wal() {
    if !ready() {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(Storage::Zfs, Switch::Clone).await;
    scene.primary.sql("alter system set max_slot_wal_keep_size = '192MB'").unwrap();
    scene.primary.reload().unwrap();
    let before = State::of(&scene);
    let recipe = recipe.with("pg-quiesce", "min_safe_wal = \"120MiB\"");
    let trial = Trial::of(&slow(&scene.pipeline(&recipe)));
    let (index, primary) = (position(&trial, "ssh-transfer"), scene.primary.clone());
    let writes = move || {
        let wal =
            "select count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) from generate_series(1, 100)";
        std::thread::spawn(move || primary.sql(wal));
    };
    let ended = trial.wrap(index, Faulty::act(writes)).run().await;
    scene.must_be_undone(&before, &ended);
    let told = "of WAL the source would give up what the replication slot";
    assert!(ended.report.error.as_deref().unwrap().contains(told), "{}", ended.story());
    scene.primary.sql("alter system reset max_slot_wal_keep_size").unwrap();
    scene.primary.reload().unwrap();
    scene.succeed(&recipe).await;
}

/// Leaves room for half of what is to come.
fn fill(scene: &Scene, filler: &str) {
    fill_pool(&scene.b.name, filler, 30);
}

/// Leaves so many megabytes.
fn fill_pool(pool: &str, filler: &str, left: u64) {
    let get = Tool::new("zfs").args(["get", "-Hp", "-o", "value", "available", pool]);
    let available: u64 = get.run().unwrap().trim().parse().unwrap();
    let megabytes = (available >> 20).saturating_sub(left);
    let dd = Tool::new("dd").args(["if=/dev/zero", "bs=1M", &format!("count={megabytes}"), &format!("of={filler}")]);
    dd.run().unwrap();
}
