//! Standbys from a repository: with the primary there they stream, without it they serve.

use std::path::PathBuf;

use reseed_core::report::{Outcome, RunReport};
use reseed_lab::{Aim, Major, PairOptions, Spread, Storage, Switch, repository_in_directory};
use reseed_tests::ready_for;
use reseed_tests::run::{run, succeed};
use reseed_tests::scene::Scene;

/// A pair, and a directory for the repository between its sides.
struct Offsite {
    scene: Scene,
    root: tempfile::TempDir,
}

/// Whether every account's money is at a teller: true of each committed state, and of no mixture.
const BALANCED: &str = "select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from \
                        pgbench_tellers) and (select sum(tbalance) from pgbench_tellers) = (select coalesce(sum(delta), \
                        0) from pgbench_history)";

impl Offsite {
    fn on(storage: Storage, spread: Spread) -> Option<Self> {
        let options = || PairOptions { storage, spread, ..PairOptions::small(Major::newest().unwrap()) };
        ready_for(storage).then(|| Self { scene: Scene::with(&options()), root: tempfile::tempdir().unwrap() })
    }

    fn put_file(&self, mode: &str) -> String {
        let file = self.scene.put_pipeline(&repository_in_directory(self.root.path())).unwrap();
        file.replace("use = \"pg-quiesce\"\n", &format!("use = \"pg-quiesce\"\nmode = \"{mode}\"\n"))
    }

    async fn put(&self, mode: &str) -> RunReport {
        succeed(&self.put_file(mode)).await.report
    }

    fn get_file(&self, follows: bool, switch: Switch) -> String {
        let aim = Aim { pool: &self.scene.b, standby: &self.scene.standby, switch, follows };
        self.scene.get_pipeline(&repository_in_directory(self.root.path()), aim)
    }

    /// The one manifest of a repository that holds one.
    fn manifest(&self) -> PathBuf {
        let mut path = self.root.path().join("manifests");
        while path.is_dir() {
            path = std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        }
        path
    }

    fn alter(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.manifest();
        let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    }

    /// That the standby serves what was committed, and takes no writes.
    fn serves(&self) {
        let standby = &self.scene.standby;
        assert_eq!(standby.sql("select pg_is_in_recovery()").unwrap(), "t");
        assert_eq!(standby.sql(BALANCED).unwrap(), "t");
        assert!(standby.sql("create table t ()").unwrap_err().to_string().contains("read-only"));
    }
}

async fn follows(storage: Storage, mode: &str, switches: &[Switch]) {
    let Some(mut offsite) = Offsite::on(storage, Spread::One) else { return };
    offsite.put(mode).await;
    for (index, switch) in switches.iter().enumerate() {
        let got = offsite.scene.succeed_file(&offsite.get_file(true, *switch)).await;
        assert_eq!((got.report.full, got.report.streaming), (index == 0, None), "{}", got.story());
        offsite.put(mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_from_a_repository_streams_on_btrfs() {
    follows(Storage::Btrfs, "backup", &[Switch::Clone, Switch::Clone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_from_a_repository_streams_on_zfs() {
    follows(Storage::Zfs, "atomic", &[Switch::Clone, Switch::Clone]).await;
}

async fn alone(storage: Storage, spread: Spread, mode: &str) {
    let Some(mut offsite) = Offsite::on(storage, spread) else { return };
    offsite.scene.write_on();
    offsite.put(mode).await;
    offsite.scene.write_on();
    offsite.put(mode).await;
    offsite.scene.calm();
    offsite.scene.primary.stop().unwrap();
    let got = succeed(&offsite.get_file(false, Switch::Clone)).await;
    assert_eq!(got.report.streaming, Some(false), "{}", got.story());
    offsite.serves();
    // A primary that is named and can't be reached is refused, unless that was asked for.
    offsite.scene.primary.start().unwrap();
    offsite.put(mode).await;
    offsite.scene.primary.stop().unwrap();
    let file = offsite.get_file(true, Switch::Clone);
    let refused = run(&file).await;
    assert_eq!(refused.report.exit_code(), 3, "{}", refused.story());
    assert!(refused.report.error.is_some_and(|error| error.contains("its primary can't be reached")));
    let again = run(&file.replace("use = \"pg-switch\"\n", "use = \"pg-switch\"\nproof = \"consistent\"\n")).await;
    assert_eq!(again.report.outcome, Outcome::Done, "{}", again.story());
    assert!(again.story().contains("will serve and not stream"), "{}", again.story());
    assert_eq!((again.report.full, again.report.streaming), (false, Some(false)), "{}", again.story());
    offsite.serves();
    // What it was told of its primary counts as soon as that is back.
    offsite.scene.primary.start().unwrap();
    assert!(reseed_tests::judge::streams_soon(&offsite.scene.standby));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_copy_serves_without_a_primary_on_btrfs() {
    alone(Storage::Btrfs, Spread::One, "atomic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_backup_mode_serves_without_a_primary_on_btrfs() {
    alone(Storage::Btrfs, Spread::Apart, "backup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_backup_mode_serves_without_a_primary_on_zfs() {
    alone(Storage::Zfs, Spread::One, "backup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_become_a_standby_is_refused_or_taken_back() {
    let Some(mut offsite) = Offsite::on(Storage::Btrfs, Spread::One) else { return };
    offsite.scene.write_on();
    offsite.put("backup").await;
    let whole = std::fs::read(offsite.manifest()).unwrap();
    let refused = async |follows, why: &str| {
        let ended = run(&offsite.get_file(follows, Switch::Clone)).await;
        assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
        assert!(ended.report.error.as_ref().is_some_and(|error| error.contains(why)), "{}", ended.story());
    };
    offsite.alter(|manifest| manifest["facts"]["postgresql.source"]["system_identifier"] = 7.into());
    refused(true, "another cluster").await;
    offsite.alter(|manifest| manifest["facts"]["postgresql.source"]["version"] = 90_900.into());
    refused(false, "9").await;
    // Without the WAL up to the backup's end the copy is not consistent, and never called so.
    std::fs::write(offsite.manifest(), &whole).unwrap();
    offsite.alter(|manifest| {
        assert!(manifest["files"].as_array().is_some_and(|files| !files.is_empty()));
        manifest["files"] = serde_json::json!([]);
    });
    let file = offsite.get_file(false, Switch::Clone);
    let ended = run(&file.replace("use = \"pg-switch\"\n", "use = \"pg-switch\"\ntimeout = \"8s\"\n")).await;
    assert_eq!(ended.report.outcome, Outcome::Undone, "{}", ended.story());
    std::fs::write(offsite.manifest(), &whole).unwrap();
    let file = file.replace("proof = \"consistent\"\n", "");
    let ended = run(&file).await;
    assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
    assert!(ended.report.error.is_some_and(|error| error.contains("how the standby reaches its primary")));
}
