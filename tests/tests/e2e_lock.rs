//! The advisory lock in the primary's database is held as long as the stages of a run are at work.

use reseed_lab::{Major, PairOptions, Recipe, Storage, Switch};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready_for;
use reseed_tests::run::Trial;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::watch::LockWatch;

fn scene(storage: Storage) -> Option<Scene> {
    let options = || PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) };
    ready_for(storage).then(|| Scene::with(&options()))
}

/// Seeds and resets, and looks at each event; then fails at the end, and looks again.
async fn is_held(storage: Storage, switch: Switch, from: &str) {
    let Some(mut scene) = scene(storage) else { return };
    let recipe = Recipe { switch, ..Recipe::default() };
    scene.succeed(&Recipe::default()).await;
    let text = scene.pipeline(&recipe);
    let watch = LockWatch::of(&scene.primary);
    let trial = Trial::of(&text).listen(watch.listener());
    let stages = trial.stages();
    trial.run().await.must_be_done();
    watch.must_have_seen(1, from, &stages);
    watch.must_see_none();
    scene.judge();

    let before = State::of(&scene);
    let last = stages.len() - 1;
    let ended = Trial::of(&text).wrap(last, Faulty::wrap(Fault::ErrorAfter)).run().await;
    watch.must_see_none();
    scene.must_be_undone(&before, &ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_in_every_stage_of_a_run_on_btrfs_and_gone_afterwards() {
    is_held(Storage::Btrfs, Switch::Clone, "pg-quiesce").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_in_every_stage_of_a_base_backup_and_gone_afterwards() {
    is_held(Storage::Directories, Switch::Clone, "pg-basebackup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_in_every_stage_of_a_run_in_place_and_gone_afterwards() {
    is_held(Storage::Zfs, Switch::InPlace, "pg-quiesce").await;
}
