//! The contract of storages, for every pair of what sends and what receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reseed_core::config::Resources;
use reseed_core::item::{Item, Payload};
use reseed_core::stage::{Stage, StageCx};
use reseed_core::testkit::{self, StorageContract, StorageFixture};
use reseed_core::{Kind, Mismatch};
use reseed_lab::{Major, Pair, PairOptions, Recipe, Storage};
use reseed_pg::basebackup::DATA;
use reseed_tests::ground::{Ground, Staged};
use reseed_tests::state::State;
use reseed_tests::{has_s3_server, ready_for};

#[tokio::test(flavor = "multi_thread")]
async fn zfs() {
    if ready_for(Storage::Zfs) {
        StorageContract::new(&Ground::on(Storage::Zfs)).holds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn btrfs() {
    if ready_for(Storage::Btrfs) {
        StorageContract::new(&Ground::on(Storage::Btrfs)).holds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_directory() {
    if ready_for(Storage::Btrfs) {
        let staged = Staged::in_directory(Ground::on(Storage::Btrfs));
        StorageContract::new(&staged).without_a_receiving_job().without_leftovers().holds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_bucket() {
    if ready_for(Storage::Btrfs) && has_s3_server() {
        let staged = Staged::in_bucket(Ground::on(Storage::Btrfs));
        StorageContract::new(&staged).without_a_receiving_job().without_leftovers().holds().await;
    }
}

/// A server whose base backups are received into a directory.
struct Backups {
    pair: Pair,
    file: String,
    copied: Arc<AtomicBool>,
}

/// The table that changes.
const TABLE: &str = "bulk";

/// Looks at a copy, which goes when the run ends and nobody has put it into place.
#[derive(Debug)]
struct Looks {
    data: String,
    table: String,
    copied: Arc<AtomicBool>,
}

#[async_trait]
impl Stage for Looks {
    fn name(&self) -> &str {
        "looks"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> reseed_core::Result<Item> {
        let Payload::Dataset(volume) = &input.payload else { panic!("no dataset: {input:?}") };
        let copy = volume.locate(DATA).expect("the copy is somewhere");
        let [ours, theirs] = [&copy, &self.data].map(|place| std::fs::read(format!("{place}/{}", self.table)).unwrap());
        self.copied.store(!ours.is_empty() && ours == theirs, Ordering::SeqCst);
        Ok(input)
    }
}

impl Backups {
    fn new() -> Self {
        let options = PairOptions { storage: Storage::Directories, ..PairOptions::small(Major::newest().unwrap()) };
        let pair = Pair::new(&options).unwrap();
        let file = pair.pipeline(&Recipe::default());
        pair.primary.sql(&format!("create table {TABLE} (a text)")).unwrap();
        Self { pair, file, copied: Arc::default() }
    }

    fn stages(&self, names: &[&str]) -> Vec<Arc<dyn Stage>> {
        let all = testkit::stages(self.file.split_once("\n").unwrap().1);
        all.into_iter().filter(|stage| names.contains(&stage.name())).collect()
    }
}

#[async_trait]
impl StorageFixture for Backups {
    fn sending(&self) -> Vec<Arc<dyn Stage>> {
        self.stages(&["pg-basebackup"])
    }

    fn receiving(&self) -> Vec<Arc<dyn Stage>> {
        let table = self.pair.primary.sql(&format!("select pg_relation_filepath('{TABLE}')")).unwrap();
        let (data, copied) = (self.pair.primary.data.clone(), Arc::clone(&self.copied));
        let mut stages = self.stages(&["dir-receive"]);
        stages.push(Arc::new(Looks { data, table: table.trim().to_owned(), copied }));
        stages
    }

    async fn change(&self) {
        let rows = format!("insert into {TABLE} select md5(random()::text) from generate_series(1, 20000)");
        self.pair.primary.sql(&rows).unwrap();
        self.copied.store(false, Ordering::SeqCst);
    }

    async fn inventory(&self) -> Vec<String> {
        let State { storage, slots, sessions } = State::of(&self.pair);
        let primary = format!("{}/", self.pair.a.mountpoint);
        // The server makes and removes files of its own all the while.
        let storage = storage.into_iter().filter(|line| !line.starts_with(&primary));
        storage.chain(slots).chain(sessions).collect()
    }

    async fn is_copied(&self) -> bool {
        self.copied.load(Ordering::SeqCst)
    }

    fn resources(&self) -> Resources {
        Resources::read(&self.file, &std::collections::BTreeMap::new()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn base_backups() {
    if ready_for(Storage::Directories) {
        let backups = Backups::new();
        // An archive is filled up with zeros to a whole record of 10 KiB.
        StorageContract::new(&backups).cuts(3).padded(10 << 10).without_increments().without_leftovers().holds().await;
    }
}
