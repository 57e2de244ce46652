//! Pruning a real repository: what is not kept goes, what is kept can be restored, and whatever a put or a get
//! under way needs stays.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use reseed_core::event::Event;
use reseed_core::report::Outcome;
use reseed_lab::{Aim, Major, PairOptions, Seaweed, Storage, Switch, repository_in_bucket, repository_in_directory};
use reseed_tests::run::{Listener, Trial, succeed};
use reseed_tests::scene::{BALANCED, Scene};
use reseed_tests::{binary, ready_for};
use reseed_transport_s3::chain::{Chain, chains};
use reseed_transport_s3::store::{FileStore, Keys, S3Settings, S3Store, Store};
use reseed_transport_s3::verify::{Depth, verify};

const BUCKET: &str = "offsite";

/// A scene and its repository.
struct Offsite {
    scene: Scene,
    root: tempfile::TempDir,
    table: String,
    store: Arc<dyn Store>,
    /// Where the repository is a bucket; the server ends with this.
    server: Option<Seaweed>,
}

impl Offsite {
    fn in_directory(storage: Storage) -> Option<Self> {
        let (scene, root) = (scene(storage)?, tempfile::tempdir().unwrap());
        let (table, store) = (repository_in_directory(root.path()), Arc::new(FileStore::new(root.path())));
        Some(Self { scene, root, table, store, server: None })
    }

    fn in_a_bucket(storage: Storage) -> Option<Self> {
        let (scene, root) = (scene(storage)?, tempfile::tempdir().unwrap());
        let server = Seaweed::in_lab(&scene.lab).unwrap();
        server.bucket(BUCKET).unwrap();
        let table = repository_in_bucket(&server, BUCKET, root.path()).unwrap();
        let (endpoint, keys) =
            (Some(server.endpoint()), Keys::new(&server.access_key_id, &server.secret_access_key, None));
        let settings = S3Settings { endpoint, keys: Some(keys), ..S3Settings::new(BUCKET, "pg") };
        Some(Self { scene, root, table, store: Arc::new(S3Store::new(settings)), server: Some(server) })
    }

    /// A put after each second of which the whole is put again.
    fn put_file(&self) -> String {
        format!("{}chunk = \"1MiB\"\nmax_increments = 1\n", self.scene.put_pipeline(&self.table).unwrap())
    }

    fn get_file(&self, state: &str) -> String {
        let storage = self.scene.storage.name().to_lowercase();
        let into = match self.scene.storage {
            Storage::Zfs => self.scene.b.dataset("old"),
            _ => self.scene.b.path("old"),
        };
        format!(
            "name = \"get\"\n{}[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"{storage}\"\n\
             state = \"{state}\"\n\n[[stage]]\nuse = \"{storage}-receive\"\ninto = \"{into}\"\n",
            self.table
        )
    }

    /// `reseed staged prune`, as it is typed.
    fn prune(&self) -> impl Fn(&[&str]) -> Output + Send + Sync + 'static {
        let url = match &self.server {
            Some(_) => format!("s3://{BUCKET}/pg"),
            None => format!("file://{}", self.root.path().display()),
        };
        let environment: Vec<_> = self.server.iter().flat_map(environment).collect();
        move |options| {
            let mut command = Command::new(binary());
            command.args(["staged", "prune", &url, "--last", "1"]).args(options).envs(environment.iter().cloned());
            command.output().unwrap()
        }
    }

    /// Everything but the mark that says what is to go.
    async fn objects(&self) -> Vec<String> {
        let all = self.store.list("").await.unwrap().into_iter().map(|object| object.key.to_string());
        all.filter(|name| !["prune/", "s3-"].iter().any(|mine| name.starts_with(mine))).collect()
    }

    async fn chains(&self) -> Vec<Chain> {
        chains(self.store.as_ref()).await.unwrap()
    }

    /// Lengths of the chains, each of which must be whole; nothing else is there.
    async fn all_whole(&self) -> Vec<usize> {
        let (all, mut named) = (self.chains().await, 0);
        for chain in &all {
            assert_eq!(verify(&self.store, chain, Depth::Deep).await.unwrap().broken, vec![], "{}", chain.name);
            named +=
                chain.links.iter().flat_map(|link| link.manifest.stored()).map(|one| one.chunks.len()).sum::<usize>();
        }
        assert_eq!(self.store.list("chunks/").await.unwrap().len(), named, "chunks that no manifest names");
        all.iter().map(|chain| chain.links.len()).collect()
    }

    async fn restores(&self) {
        let aim = Aim { pool: &self.scene.b, standby: &self.scene.standby, switch: Switch::Clone, follows: false };
        succeed(&self.scene.get_pipeline(&self.table, aim)).await;
        assert_eq!(self.scene.standby.sql(BALANCED).unwrap(), "t");
    }
}

fn scene(storage: Storage) -> Option<Scene> {
    let options = || PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) };
    ready_for(storage).then(|| Scene::with(&options()))
}

fn environment(server: &Seaweed) -> [(&'static str, String); 3] {
    [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", server.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_access_key.clone()),
    ]
}

fn text(output: &Output) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    told
}

/// Runs a file, with this stage at the end of a slow stream, and does something in the midst of that.
async fn meanwhile(file: &str, stage: &str, act: impl FnOnce() + Send + 'static) {
    let slow = "[[stage]]\nuse = \"throttle\"\nrate = \"8MiB/s\"\n\n";
    let last = format!("[[stage]]\nuse = \"{stage}\"");
    let (name, act) = (stage.to_owned(), Arc::new(Mutex::new(Some(act))));
    let (waiting, over) = (Arc::clone(&act), AtomicBool::new(false));
    let listener: Listener = Arc::new(move |event| match event {
        Event::StageFinished { stage, .. } => drop(over.fetch_or(*stage == name, Ordering::SeqCst)),
        Event::Progress(progress) if progress.stream_bytes > 0 && !over.load(Ordering::SeqCst) => {
            let act = act.lock().unwrap().take();
            act.into_iter().for_each(|act| act());
        }
        _ => {}
    });
    let ended = Trial::of(&file.replace(&last, &format!("{slow}{last}"))).listen(listener).run().await;
    assert_eq!(ended.report.outcome, Outcome::Done, "{}", ended.story());
    assert!(waiting.lock().unwrap().is_none(), "it was over before anything else was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pruning_keeps_in_a_bucket_is_restored() {
    let Some(offsite) = Offsite::in_a_bucket(Storage::Btrfs) else { return };
    let put = offsite.put_file();
    for _ in 0..3 {
        succeed(&put).await;
    }
    assert_eq!(offsite.all_whole().await, [2, 1]);
    let (prune, before) = (offsite.prune(), offsite.objects().await);
    let looked = text(&prune(&[]));
    assert!(looked.contains("nothing was changed") && looked.contains("kept: 1 manifest\n"), "{looked}");
    assert_eq!(offsite.objects().await, before, "to look changes nothing");
    assert!(text(&prune(&["--apply", "--grace", "1s"])).contains("marked now"));
    assert_eq!(offsite.objects().await, before, "the grace time has just begun");

    // A put of the next increment, which is pruned beside, twice and with no grace.
    let during = offsite.prune();
    meanwhile(&put, "s3-put", move || (0..2).for_each(|_| drop(text(&during(&["--apply", "--grace", "0s"]))))).await;
    assert_eq!(offsite.all_whole().await, [2], "the first chain went, and nothing that the put needed");
    offsite.restores().await;
}

/// The newest of a chain that is to go is got meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_under_way_loses_nothing_to_pruning_by_the_puts_own_keep() {
    let Some(offsite) = Offsite::in_directory(Storage::Btrfs) else { return };
    let put = offsite.put_file();
    for _ in 0..3 {
        succeed(&put).await;
    }
    let old = offsite.chains().await[0].newest().unwrap().key.to_string();
    let (before, during) = (offsite.objects().await, offsite.prune());
    let get = offsite.get_file(&old);
    meanwhile(&get, "btrfs-receive", move || (0..2).for_each(|_| drop(text(&during(&["--apply", "--grace", "1h"])))))
        .await;
    assert_eq!(offsite.objects().await, before);
    // The next put has a shorter grace time, which has been over since the mark was set.
    let kept = succeed(&format!("{put}keep = {{ last = 1 }}\ngrace = \"1s\"\n")).await;
    assert!(kept.story().contains("removed"), "{}", kept.story());
    assert_eq!(offsite.all_whole().await, [2]);
    offsite.restores().await;
}
