//! Whole runs on real btrfs: two file systems on loop devices, an sshd on loopback, PostgreSQL under
//! load throughout.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use reseed_lab::{FarPath, Lab, Major, PairOptions, Recipe, Seat, Spread, Sshd, Storage, Tool, User};
use reseed_tests::ready_for;
use reseed_tests::run::Trial;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

fn options() -> Option<PairOptions> {
    let small = || PairOptions { storage: Storage::Btrfs, ..PairOptions::small(Major::newest().unwrap()) };
    ready_for(Storage::Btrfs).then(small)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_and_reset_again() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    let recipe = Recipe::default().with("pg-switch", "keep_old = \"0s\"");
    let seed = scene.succeed(&recipe).await.report;
    assert!(seed.full && seed.from_guid.is_none() && seed.downtime_seconds.is_none());
    assert!(seed.wire_bytes > 0 && seed.wire_bytes < seed.stream_bytes);
    let (mut before, mut kept) = (seed, None);
    for _ in 0..3 {
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
async fn what_was_live_is_kept_for_its_time() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    let aside = |scene: &Scene| {
        let state = State::of(scene);
        state.datasets(&scene.b).iter().filter(|name| name.starts_with("pgsql-reseed-old-")).count()
    };
    scene.succeed(&Recipe::default()).await;
    scene.succeed(&Recipe::default().with("pg-switch", "keep_old = \"15s\"")).await;
    let switched = Instant::now();
    assert_eq!(aside(&scene), 2, "the subvolume and the file that says until when: {:#?}", State::of(&scene));
    while switched.elapsed() < Duration::from_secs(15) {
        scene.write_on();
    }
    scene.succeed(&Recipe::default().with("pg-switch", "keep_old = \"0s\"")).await;
    assert_eq!(aside(&scene), 0, "{:#?}", State::of(&scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_can_be_asked_for() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    for mode in ["backup", "atomic"] {
        let recipe = Recipe::default().with("pg-quiesce", format!("mode = \"{mode}\""));
        scene.succeed(&recipe).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_subvolumes_take_backup_mode() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&PairOptions { spread: Spread::Apart, ..options });
    let atomic = Recipe::default().with("pg-quiesce", "mode = \"atomic\"");
    let before = State::of(&scene);
    let refused = Trial::of(&scene.pipeline(&atomic)).run().await.report;
    assert_eq!(refused.exit_code(), 3, "{refused:?}");
    assert!(refused.error.as_ref().is_some_and(|error| error.contains("no snapshot spans subvolumes")), "{refused:?}");
    assert_eq!(State::of(&scene), before);
    for _ in 0..2 {
        scene.succeed(&Recipe::default()).await;
    }
    let wal = scene.a.dataset(".reseed/wal");
    assert!(State::of(&scene).snapshots(&wal).is_empty(), "the content of pg_wal is not sent");
    assert!(!State::of(&scene).snapshots(&scene.a.dataset(".reseed/space")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_on_the_standby_on_the_primary_and_on_a_third_machine() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    for seat in [Seat::Primary, Seat::Third, Seat::Standby] {
        scene.succeed(&Recipe { seat, ..Recipe::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_takes_what_the_far_side_has() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
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
    }
}

/// Lets a user become root without a password, until the end of the lab.
fn may_become_root(lab: &Lab, user: &str) {
    let rule = format!("/etc/sudoers.d/reseed-lab-{}", std::process::id());
    lab.guard().add(&format!("rm -f {rule}")).unwrap();
    std::fs::write(&rule, format!("{user} ALL=(root) NOPASSWD: ALL\n")).unwrap();
    std::fs::set_permissions(&rule, std::fs::Permissions::from_mode(0o440)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_user_becomes_root_by_sudo_on_the_other_machine() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    scene.sshd = Some(Sshd::of_user(&scene.lab, &User::named("postgres").unwrap()).unwrap());
    let recipe = Recipe { seat: Seat::Third, ..Recipe::default() };
    let plain = scene.pipeline(&recipe).replace("root@127.0.0.1", "postgres@127.0.0.1");
    let before = State::of(&scene);
    let refused = Trial::of(&plain).run().await.report;
    assert_eq!(refused.exit_code(), 3, "{refused:?}");
    assert!(refused.hint.as_ref().is_some_and(|hint| hint.contains("become = \"sudo\"")), "{refused:?}");
    assert_eq!(State::of(&scene), before);
    may_become_root(&scene.lab, "postgres");
    let raised = plain.replace("use = \"ssh\"", "use = \"ssh\"\nbecome = \"sudo\"");
    for _ in 0..2 {
        scene.succeed_file(&raised).await;
    }
}

/// The newest read-only subvolume in a directory.
fn newest(directory: &str) -> String {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.pop().unwrap().to_string_lossy().into_owned()
}

fn btrfs(args: &[&str]) {
    Tool::new("btrfs").args(args.iter().copied()).run().unwrap();
}

/// The run is refused for this reason, with a hint, and nothing is touched.
async fn refused(scene: &Scene, recipe: &Recipe, reason: &str) {
    let before = State::of(scene);
    let ended = Trial::of(&scene.pipeline(recipe)).run().await;
    assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
    let error = ended.report.error.clone().unwrap_or_default();
    assert!(error.contains(reason), "not about `{reason}`: {error}");
    assert!(ended.report.hint.is_some(), "no hint: {error}");
    assert_eq!(State::of(scene), before, "something was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_not_what_it_was_is_refused() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    let recipe = Recipe::default();
    scene.succeed(&recipe).await;
    for directory in [scene.b.path("reseed/pgsql"), scene.a.path(".reseed/pgsql")] {
        // A read-only snapshot of a received copy takes over its received UUID.
        let base = newest(&directory);
        if directory.contains("/b/") {
            let twin = scene.b.path("twin");
            btrfs(&["subvolume", "snapshot", "-r", &base, &twin]);
            refused(&scene, &recipe, "both say that they were received").await;
            btrfs(&["subvolume", "delete", &twin]);
            scene.succeed(&recipe).await;
        }
        // Made writable, written to, and read-only again. Newer programs forget the received UUID by
        // this; then the whole is sent.
        let base = newest(&directory);
        flip(&base, || std::fs::write(format!("{base}/data/PG_VERSION"), "99\n").unwrap());
        match received(&base) || directory.contains("/a/") {
            true => refused(&scene, &recipe, "changed after it was complete").await,
            false => println!("skipped: this btrfs forgets what it received"),
        }
        btrfs(&["subvolume", "delete", &base]);
        scene.succeed(&recipe).await;
        // Only what is in the directory is changed, no data of a file.
        let base = newest(&directory);
        flip(&base, || std::fs::remove_file(format!("{base}/data/PG_VERSION")).unwrap());
        if received(&base) || directory.contains("/a/") {
            refused(&scene, &recipe, "changed after it was complete").await;
        }
        btrfs(&["subvolume", "delete", &base]);
        scene.succeed(&recipe).await;
    }
}

/// Changes a read-only subvolume as a careless hand does.
fn flip(path: &str, change: impl FnOnce()) {
    btrfs(&["property", "set", "-f", "-ts", path, "ro", "false"]);
    change();
    btrfs(&["property", "set", "-ts", path, "ro", "true"]);
}

fn received(path: &str) -> bool {
    let shown = Tool::new("btrfs").args(["subvolume", "show", path]).run().unwrap();
    shown.lines().any(|line| line.trim().starts_with("Received UUID:") && !line.trim().ends_with('-'))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_before_anything_is_touched() {
    let Some(options) = options() else { return };
    let mut scene = Scene::with(&options);
    let recipe = Recipe::default();
    let text = scene.pipeline(&recipe);
    let cases = [
        (scene.b.dataset("reseed"), scene.a.dataset("pgsql/reseed"), "on the same machine"),
        (scene.b.dataset("reseed"), scene.lab.path("reseed"), "not on btrfs"),
        (scene.standby.data.clone(), scene.lab.path("plain/data"), "not on btrfs"),
        (scene.standby.data.clone(), scene.b.path("data"), "is a mount point"),
    ];
    std::fs::create_dir(scene.lab.path("plain")).unwrap();
    for (from, to, reason) in cases {
        let before = State::of(&scene);
        let ended = Trial::of(&text.replace(&from, &to)).run().await;
        assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
        let error = ended.report.error.clone().unwrap_or_default();
        assert!(error.contains(reason), "not about `{reason}`: {error}");
        assert!(ended.report.hint.is_some(), "no hint: {error}");
        assert_eq!(State::of(&scene), before, "something was touched");
    }
    scene.succeed(&recipe).await;
    // A stranger in the live subvolume would go aside with it.
    scene.b.create("pgsql/stranger", &[]).unwrap();
    refused(&scene, &recipe, "is no part of the copy").await;
}
