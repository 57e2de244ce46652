//! The snapshots between two runs come along, in one stream, where that is asked for.

use reseed_core::event::Event;
use reseed_lab::{Major, Pool, Recipe, Switch, Tool};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready;
use reseed_tests::run::{Ended, Trial, run, succeed};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

/// A snapshot of the primary that others took.
fn snapshot(scene: &mut Scene, name: &str) {
    scene.write_on();
    Tool::new("zfs").args(["snapshot", &format!("{}@{name}", scene.a.dataset("pgsql"))]).run().unwrap();
}

/// GUIDs of the snapshots of a dataset that others took, by their names.
fn others(pool: &Pool, dataset: &str) -> Vec<(String, String)> {
    let list = ["list", "-H", "-t", "snapshot", "-r", "-o", "name", &pool.dataset(dataset)];
    let names = Tool::new("zfs").args(list).run().unwrap();
    let names = names.lines().filter(|name| !name.contains("@reseed-"));
    let guid = |name: &str| Tool::new("zfs").args(["get", "-Hp", "-o", "value", "guid", name]).run().unwrap();
    let short = |name: &str| name.split_once('@').unwrap().1.to_owned();
    names.map(|name| (short(name), guid(name).trim().to_owned())).collect()
}

fn tells(ended: &Ended, wanted: &str) -> bool {
    ended.events.iter().any(|event| matches!(event, Event::Note { text, .. } if text.contains(wanted)))
}

fn recipe(switch: Switch) -> Recipe {
    Recipe { switch, ..Recipe::default() }.with("zfs-send", "intermediary = true")
}

fn scene() -> Option<Scene> {
    ready().then(|| Scene::of(Major::newest().unwrap()))
}

/// A run that has brought everything fails in its last stage, and everything is as it was.
async fn comes_and_goes(scene: &Scene, recipe: &Recipe) -> Ended {
    let before = State::of(scene);
    let trial = Trial::of(&scene.pipeline(recipe));
    let last = trial.stages().len() - 1;
    let ended = trial.wrap(last, Faulty::wrap(Fault::ErrorBefore)).run().await;
    scene.must_be_undone(&before, &ended);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_and_go_with_a_run_and_are_never_pruned() {
    let Some(mut scene) = scene() else { return };
    let recipe = recipe(Switch::Clone);
    snapshot(&mut scene, "before");
    let seed = scene.succeed(&recipe).await;
    assert!(seed.report.full && others(&scene.b, "reseed/pgsql").is_empty(), "a whole brings the new one alone");
    for name in ["one", "two"] {
        snapshot(&mut scene, name);
    }
    let ended = comes_and_goes(&scene, &recipe).await;
    assert!(tells(&ended, "with the 2 snapshots in between"), "{}", ended.story());

    let reset = scene.succeed(&recipe).await.report;
    assert_eq!((reset.full, reset.from_guid), (false, seed.report.to_guid));
    let wanted: Vec<_> = others(&scene.a, "pgsql").into_iter().filter(|(name, _)| name != "before").collect();
    assert_eq!(wanted.len(), 2);
    assert_eq!(others(&scene.b, "reseed/pgsql"), wanted);
    // Nothing in between: an increment like any other; and one that leaves out what is.
    assert!(!tells(&scene.succeed(&recipe).await, "in between"));
    snapshot(&mut scene, "three");
    scene.succeed(&Recipe::default()).await;
    scene.succeed(&recipe).await;
    assert_eq!(others(&scene.b, "reseed/pgsql"), wanted);
    // A bookmark is no start of several.
    let bookmark = scene.pipeline(&recipe.with("zfs-snapshot", "anchor = \"bookmark\""));
    run(&bookmark).await.must_say(3, "only a bookmark stays", "leave out `anchor = \"bookmark\"`");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_in_place_too() {
    let Some(mut scene) = scene() else { return };
    let recipe = recipe(Switch::InPlace);
    scene.succeed(&recipe).await;
    snapshot(&mut scene, "one");
    scene.succeed(&recipe).await;
    assert_eq!(others(&scene.b, "pgsql"), others(&scene.a, "pgsql"));
    snapshot(&mut scene, "two");
    comes_and_goes(&scene, &recipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_come_by_a_repository() {
    let Some(mut scene) = scene() else { return };
    let root = tempfile::tempdir().unwrap();
    let repository = format!("[repositories.offsite]\nurl = \"file://{}\"\n", root.path().display());
    let put = scene.put_pipeline(&repository).unwrap();
    let put = put.replace("use = \"zfs-send\"\n", "use = \"zfs-send\"\nintermediary = true\n");
    succeed(&put).await;
    snapshot(&mut scene, "one");
    assert!(!succeed(&put).await.report.full);
    let into = scene.b.dataset("got");
    let get = format!(
        "name = \"get\"\n{repository}[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"zfs\"\n\n\
         [[stage]]\nuse = \"zfs-receive\"\ninto = \"{into}\"\n"
    );
    succeed(&get).await;
    assert_eq!(others(&scene.b, "got"), others(&scene.a, "pgsql"));
    let verified = Tool::new(reseed_tests::binary())
        .args(["staged", "verify", "--deep", &format!("file://{}", root.path().display())])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
