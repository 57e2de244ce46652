//! Storages on real parts, without a server on them, as the contract of storages wants them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::Resources;
use reseed_core::stage::Stage;
use reseed_core::testkit::{self, StorageFixture, quiesced};
use reseed_lab::{Lab, Pool, Repository, Storage, Tool};
use reseed_transport_s3::RepositoryResource;

use crate::run::succeed;

/// A dataset or subvolume with a file, and another pool to receive it.
#[derive(Debug)]
pub struct Ground {
    storage: Storage,
    a: Pool,
    b: Pool,
    lab: Lab,
}

const SOURCE: &str = "source";
const COPIES: &str = "copies";
/// Smallest file systems that can be made.
const SIZE: u64 = 512 << 20;

impl Ground {
    /// One on this storage.
    pub fn on(storage: Storage) -> Self {
        let lab = Lab::new().unwrap();
        let (a, b) = (storage.pool(&lab, "a", SIZE).unwrap(), storage.pool(&lab, "b", SIZE).unwrap());
        a.create(SOURCE, &[]).unwrap();
        Self { storage, a, b, lab }
    }

    /// The lab that it lies in.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    fn prefix(&self) -> &'static str {
        match self.storage {
            Storage::Zfs => "zfs",
            Storage::Btrfs => "btrfs",
            Storage::Directories => panic!("directories have no snapshots"),
        }
    }

    /// Stages from a snapshot to a stream.
    pub fn sends(&self) -> Vec<Arc<dyn Stage>> {
        let mut stages = vec![quiesced(&[&self.a.path(SOURCE)])];
        let prefix = self.prefix();
        let text = format!("[[stage]]\nuse = \"{prefix}-snapshot\"\n[[stage]]\nuse = \"{prefix}-send\"\n");
        stages.extend(testkit::stages(&text));
        stages
    }

    /// What receives.
    pub fn receive(&self) -> String {
        format!("[[stage]]\nuse = \"{}-receive\"\ninto = \"{}\"\n", self.prefix(), self.b.dataset(COPIES))
    }

    /// Writes 4 MiB anew, of bytes that don't compress.
    pub fn write(&self) {
        let file = self.a.path(&format!("{SOURCE}/file"));
        Tool::new("dd").args(["if=/dev/urandom", "bs=1M", "count=4", &format!("of={file}")]).run().unwrap();
        // What a pool tells of its snapshots may be younger than the write.
        Tool::new("sync").run().unwrap();
    }

    /// Whether the newest copy is what the source is.
    pub fn is_copied(&self) -> bool {
        let (source, copies) = (self.a.path(SOURCE), format!("{COPIES}/{SOURCE}"));
        match self.storage {
            Storage::Zfs => {
                let list =
                    Tool::new("zfs").args(["list", "-H", "-t", "snapshot", "-s", "creation", "-o", "name", "-r"]);
                let list = list.arg(self.b.dataset(&copies)).run().unwrap();
                let clone = self.b.dataset("look");
                Tool::new("zfs").args(["clone", list.lines().last().unwrap(), &clone]).run().unwrap();
                let same = is_same(&source, &self.b.path("look"));
                // What has just been read may be busy for a moment.
                let destroyed = || Tool::new("zfs").args(["destroy", "-f", &clone]).run();
                let gone = (0..100).any(|_| {
                    destroyed().is_ok() || {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        false
                    }
                });
                assert!(gone, "{clone} can't be destroyed");
                same
            }
            Storage::Btrfs | Storage::Directories => {
                let mut copies: Vec<_> = std::fs::read_dir(self.b.path(&copies)).unwrap().flatten().collect();
                copies.sort_by_key(std::fs::DirEntry::file_name);
                copies.last().is_some_and(|newest| is_same(&source, &newest.path().to_string_lossy()))
            }
        }
    }
}

#[async_trait]
impl StorageFixture for Ground {
    fn sending(&self) -> Vec<Arc<dyn Stage>> {
        self.sends()
    }

    fn receiving(&self) -> Vec<Arc<dyn Stage>> {
        testkit::stages(&self.receive())
    }

    async fn change(&self) {
        self.write();
    }

    async fn inventory(&self) -> Vec<String> {
        [&self.a, &self.b].into_iter().flat_map(|pool| pool.inventory().unwrap()).collect()
    }

    async fn is_copied(&self) -> bool {
        Ground::is_copied(self)
    }
}

/// The same source, and a repository that keeps its streams.
#[derive(Debug)]
pub struct Staged {
    // It ends before the lab.
    repository: Repository,
    ground: Ground,
}

impl Staged {
    /// In a directory.
    pub fn in_directory(ground: Ground) -> Self {
        Self { repository: Repository::in_directory(ground.lab()).unwrap(), ground }
    }

    /// In a bucket.
    pub fn in_bucket(ground: Ground) -> Self {
        Self { repository: Repository::in_bucket(ground.lab()).unwrap(), ground }
    }
}

#[async_trait]
impl StorageFixture for Staged {
    fn sending(&self) -> Vec<Arc<dyn Stage>> {
        self.ground.sends()
    }

    fn receiving(&self) -> Vec<Arc<dyn Stage>> {
        let put = "[[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\nchunk = \"1MiB\"\n";
        testkit::stages(&format!("{}{put}", self.repository.table))
    }

    async fn change(&self) {
        self.ground.write();
    }

    /// The source's, and the objects.
    async fn inventory(&self) -> Vec<String> {
        let resource = self.resources().get::<RepositoryResource>("repositories", "offsite").unwrap();
        let objects = resource.0.list("").await.unwrap().into_iter().map(|object| object.key.to_string());
        objects.chain(self.ground.a.inventory().unwrap()).collect()
    }

    /// Whether what the repository gives is what the source is.
    async fn is_copied(&self) -> bool {
        let storage = self.ground.prefix();
        let get = format!("[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"{storage}\"\n");
        succeed(&format!("name = \"get\"\n{}{get}{}", self.repository.table, self.ground.receive())).await;
        self.ground.is_copied()
    }

    fn resources(&self) -> Resources {
        Resources::read(&self.repository.table, &BTreeMap::new()).unwrap()
    }
}

/// Whether two directories hold the same.
fn is_same(one: &str, other: &str) -> bool {
    assert!(Path::new(one).exists() && Path::new(other).exists(), "{one} or {other} is not there");
    Tool::new("diff").args(["-r", one, other]).run().is_ok()
}
