//! Whole runs on real parts: two pools, an sshd on loopback, PostgreSQL under load throughout.

use std::sync::{Arc, Mutex};

use reseed_core::event::Event;
use reseed_core::report::Outcome;
use reseed_lab::{FarPath, Major, PairOptions, Recipe, Seat, Spread, Sshd, Switch};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready;
use reseed_tests::run::{Listener, Trial};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

fn in_place() -> Recipe {
    Recipe { switch: Switch::InPlace, name: "reset-standby-in-place".to_owned(), ..Recipe::default() }
}

fn newest() -> Option<Major> {
    ready().then(|| Major::newest().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_and_reset_again() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    let recipe = Recipe::default().with("pg-switch", "keep_old = \"0s\"");
    let seed = scene.succeed(&recipe).await.report;
    assert!(seed.full && seed.from_guid.is_none() && seed.downtime_seconds.is_none());
    assert!(seed.wire_bytes > 0 && seed.wire_bytes < seed.stream_bytes);
    let mut before = seed;
    let mut kept = None;
    for _ in 0..2 {
        let reset = scene.succeed(&recipe).await.report;
        assert!(!reset.full, "{reset:?}");
        assert_eq!(reset.from_guid, before.to_guid, "an increment starts where the last run arrived");
        assert!(reset.stream_bytes < before.stream_bytes || !before.full);
        let state = State::of(&scene);
        let counts = (
            state.datasets(&scene.b).len(),
            state.snapshots(&scene.a.name).len(),
            state.snapshots(&scene.b.name).len(),
        );
        assert!(kept.is_none_or(|kept| kept == counts), "leftovers pile up: {kept:?}, then {state:#?}");
        kept = Some(counts);
        before = reset;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_in_place() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    let seed = scene.succeed(&in_place()).await.report;
    assert!(seed.full);
    let reset = scene.succeed(&in_place()).await.report;
    assert!(!reset.full, "{reset:?}");
    assert_eq!(reset.from_guid, seed.to_guid);
    let again = scene.succeed(&in_place()).await.report;
    assert_eq!(again.from_guid, reset.to_guid);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_can_be_asked_for() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    for mode in ["backup", "atomic"] {
        let recipe = Recipe::default().with("pg-quiesce", format!("mode = \"{mode}\""));
        scene.succeed(&recipe).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wal_and_a_tablespace_may_be_datasets_of_their_own() {
    let Some(major) = newest() else { return };
    for mode in ["backup", "atomic"] {
        let mut scene = Scene::with(&PairOptions { spread: Spread::Apart, ..PairOptions::small(major.clone()) });
        let recipe = Recipe::default().with("pg-quiesce", format!("mode = \"{mode}\""));
        scene.succeed(&recipe).await;
        scene.succeed(&recipe).await;
        let wal = scene.a.dataset("wal");
        let sent = !State::of(&scene).snapshots(&wal).is_empty();
        assert_eq!(sent, mode == "atomic", "the content of pg_wal is sent only where it is needed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_on_the_standby_on_the_primary_and_on_a_third_machine() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    for seat in [Seat::Primary, Seat::Third, Seat::Standby] {
        let recipe = Recipe { seat, ..Recipe::default() };
        scene.succeed(&recipe).await;
    }
    scene.succeed(&Recipe { seat: Seat::Primary, ..in_place() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_takes_what_the_far_side_has() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    let paths = [
        ("framed", FarPath::With(vec![reseed_tests::binary()])),
        ("zstd", FarPath::Without(vec![])),
        ("plain", FarPath::Without(vec!["zstd".to_owned()])),
    ];
    for (name, path) in paths {
        scene.sshd = Some(Sshd::in_lab(&scene.lab, &path).unwrap());
        let ended = scene.succeed(&Recipe::default()).await;
        let compressed = ended.report.wire_bytes < ended.report.stream_bytes;
        assert_eq!(compressed, name != "plain", "{name}: {:?}", ended.report);
        let told = ended.story().to_lowercase();
        assert!(told.contains(name), "the run does not say that the wire is {name}\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_first_seeding_comes_in_rounds_and_makes_its_slot_for_the_last() {
    let Some(major) = newest() else { return };
    let mut scene = Scene::of(major);
    let (slots, primary) = (Arc::new(Mutex::new(Vec::new())), scene.primary.clone());
    let rounds = |scene: &Scene| {
        format!("approach = {{ until = \"2MiB\", rounds = 3 }}\n{}", scene.pipeline(&Recipe::default()))
    };
    let text = rounds(&scene);
    // The last increment is small where little is written while it lasts.
    let seen = Arc::clone(&slots);
    let listener: Listener = Arc::new(move |event| {
        if matches!(event, Event::StageFinished { stage, .. } if stage == "zfs-receive") {
            seen.lock().unwrap().push(primary.sql("select count(*) from pg_replication_slots").unwrap());
        }
    });
    let before = State::of(&scene);
    let trial = Trial::of(&text).listen(listener);
    let switch = trial.stages().len() - 1;
    let ended = trial.wrap(switch, Faulty::wrap(Fault::ErrorBefore)).run().await;
    let (report, told) = (&ended.report, ended.story());
    assert_eq!((report.exit_code(), report.outcome), (1, Outcome::Undone), "{told}");
    assert!(!report.rounds.is_empty() && report.rounds[0].full, "{told}");
    let seen = slots.lock().unwrap().clone();
    assert_eq!(seen.len(), report.rounds.len() + 1, "{told}");
    assert!(seen[..seen.len() - 1].iter().all(|slots| slots == "0") && seen[seen.len() - 1] == "1", "{seen:?}");
    let (last, whole) = (report.stream_bytes, report.rounds[0].stream_bytes);
    assert!(!report.full && last < whole, "the last increment is as large as the whole: {told}");
    // The slot and the last increment are gone; what the rounds brought is there.
    let after = State::of(&scene);
    assert_eq!((&after.slots, &after.sessions), (&before.slots, &before.sessions));
    let kept = report.rounds.last().unwrap().to_guid.clone();
    let next = scene.succeed_file(&scene.pipeline(&Recipe::default())).await.report;
    assert_eq!((next.full, next.from_guid), (false, kept), "the next run does not go on from there");
}
