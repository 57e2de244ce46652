//! A put that is killed at any moment is gone on with by the next: the real program, `kill -9`, and a server
//! whose requests are counted.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_lab::{Aim, Major, PairOptions, Seaweed, Storage, Switch};
use reseed_tests::run::succeed;
use reseed_tests::scene::{BALANCED, Scene};
use reseed_tests::way::Way;
use reseed_tests::{binary, ready_for};
use reseed_transport_s3::chain::{Link, chains};
use reseed_transport_s3::store::{Keys, S3Settings, S3Store, Store};
use reseed_transport_s3::verify::{Depth, verify};

struct Staged {
    scene: Scene,
    root: tempfile::TempDir,
    server: Seaweed,
    way: Way,
}

impl Staged {
    fn new(storage: Storage, scale: u32) -> Option<Self> {
        let options = || PairOptions { storage, scale, ..PairOptions::small(Major::newest().unwrap()) };
        let scene = ready_for(storage).then(|| Scene::with(&options()))?;
        let server = Seaweed::in_lab(&scene.lab).unwrap();
        server.bucket("offsite").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("id"), &server.access_key_id).unwrap();
        std::fs::write(root.path().join("secret"), &server.secret_access_key).unwrap();
        let way = Way::to(server.port);
        Some(Self { scene, root, server, way })
    }

    fn store(&self) -> Arc<dyn Store> {
        let keys = Keys::new(&self.server.access_key_id, &self.server.secret_access_key, None);
        let endpoint = Some(self.server.endpoint());
        Arc::new(S3Store::new(S3Settings { endpoint, keys: Some(keys), ..S3Settings::new("offsite", "pg") }))
    }

    fn repository(&self) -> String {
        let (port, root) = (self.way.port, self.root.path().display());
        format!(
            "[repositories.offsite]\nurl = \"s3://offsite/pg\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
             access_key_id = {{ file = \"{root}/id\" }}\nsecret_access_key = {{ file = \"{root}/secret\" }}\n\n"
        )
    }

    fn put_file(&self) -> String {
        let file = self.scene.put_pipeline(&self.repository()).unwrap();
        format!("{file}chunk = \"1MiB\"\nin_flight = {IN_FLIGHT}\nresume = true\n").replace(
            "[[stage]]\nuse = \"s3-put\"",
            "[[stage]]\nuse = \"throttle\"\nrate = \"20MiB/s\"\n\n[[stage]]\nuse = \"s3-put\"",
        )
    }

    /// The real program at work on this file.
    fn start(&self, file: &str) -> Child {
        let path = self.root.path().join("pipeline.toml");
        std::fs::write(&path, file).unwrap();
        let mut command = self.reseed(&["run", &path.to_string_lossy()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn reseed(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).env("RESEED_STATE_DIR", self.root.path().join("state"));
        command
    }

    /// Lengths of the chains.
    async fn links(&self) -> Vec<usize> {
        chains(self.store().as_ref()).await.unwrap().iter().map(|chain| chain.links.len()).collect()
    }

    fn sent(&self) -> usize {
        self.way.sent().values().sum()
    }

    /// Waits until so many more chunks were sent; whether the program is still there then.
    fn wait(&self, child: &mut Child, more: usize) -> bool {
        let (goal, begun) = (self.sent() + more, Instant::now());
        while self.sent() < goal {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if begun.elapsed() > Duration::from_secs(100) {
                child.kill().unwrap();
                panic!("it neither goes on nor ends: {} of {goal} chunks\n{}", self.sent(), said(child));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Whether there is an upload that could be gone on with.
    async fn is_ready(&self) -> bool {
        let records = self.store().list("uploads/").await.unwrap();
        records.iter().any(|record| record.key.as_str().ends_with("/000001.json"))
    }

    async fn chunks(&self) -> BTreeSet<String> {
        let listed = self.store().list("chunks/").await.unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }
}

const IN_FLIGHT: usize = 3;

/// How often a put is killed: by default, and where `RESEED_FAULTS=all` (`make test-faults`).
fn kills_wanted() -> usize {
    if std::env::var("RESEED_FAULTS").is_ok_and(|faults| faults == "all") { 20 } else { 5 }
}

async fn killed_at_random_moments(storage: Storage, mode: &str) {
    let Some(staged) = Staged::new(storage, 5) else { return };
    let file = staged.put_file();
    let file = file.replace("use = \"pg-quiesce\"\n", &format!("use = \"pg-quiesce\"\nmode = \"{mode}\"\n"));
    let seed = std::env::var("RESEED_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("RESEED_TEST_SEED={random}");
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut kills, mut went_on) = (0, 0);
    while kills < kills_wanted() {
        let (before, counts) = (staged.chunks().await, staged.way.sent());
        let mut child = staged.start(&file);
        // The WAL of a backup is put first, and then it can be gone on with.
        let more = match kills {
            _ if mode == "backup" && !staged.is_ready().await => 40,
            // So that there is something to go on with.
            0..2 => 1 + usize::try_from(next(3)).unwrap(),
            _ => usize::try_from(next(4)).unwrap(),
        };
        if more == 0 {
            std::thread::sleep(Duration::from_millis(next(1500)));
        } else if !staged.wait(&mut child, more) {
            break;
        }
        child.kill().unwrap();
        let talk = said(&mut child);
        kills += 1;
        went_on += usize::from(talk.contains("chunks with"));
        no_more_of(&staged, &before, &counts);
    }
    assert!(
        kills >= kills_wanted() / 2 && went_on >= kills_wanted() / 4,
        "{kills} kills, gone on with {went_on} times"
    );
    let (before, counts) = (staged.chunks().await, staged.way.sent());
    let last = staged.start(&file).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&last.stderr);
    assert!(last.status.success(), "{told}");
    no_more_of(&staged, &before, &counts);
    let store = staged.store();
    let chain = chains(store.as_ref()).await.unwrap().remove(0);
    let verdict = verify(&store, &chain, Depth::Deep).await.unwrap();
    assert_eq!(verdict.broken, vec![]);
    // Nothing is left but what the manifest names.
    assert_eq!(store.list("uploads/").await.unwrap(), []);
    let named = chain.links.iter().flat_map(|link| link.manifest.stored()).flat_map(|stream| stream.chunks);
    assert_eq!(staged.chunks().await, named.map(|chunk| chunk.object).collect());
    // Label and WAL are those of the snapshot that was begun with, and not of the run that ended it.
    let aim = Aim { pool: &staged.scene.b, standby: &staged.scene.standby, switch: Switch::Clone, follows: false };
    succeed(&staged.scene.get_pipeline(&staged.repository(), aim)).await;
    assert_eq!(staged.scene.standby.sql(BALANCED).unwrap(), "t");
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    let _ = child.stderr.take().unwrap().read_to_string(&mut text);
    child.wait().unwrap();
    text
}

/// That no chunk was sent again that was there already.
fn no_more_of(staged: &Staged, there: &BTreeSet<String>, before: &BTreeMap<String, usize>) {
    let now = staged.way.sent();
    let again: Vec<_> = there.iter().filter(|name| now.get(*name) != before.get(*name)).collect();
    assert!(again.is_empty(), "sent again: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_killed_is_gone_on_with_on_btrfs() {
    killed_at_random_moments(Storage::Btrfs, "atomic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_in_backup_mode_that_is_killed_is_gone_on_with_on_btrfs() {
    killed_at_random_moments(Storage::Btrfs, "backup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_killed_is_gone_on_with_on_zfs() {
    killed_at_random_moments(Storage::Zfs, "atomic").await;
}

/// Nobody could write down that the put has committed, but the manifest is there, and others may have got it.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_killed_behind_its_manifest_keeps_the_snapshot_that_the_next_starts_from() {
    let Some(staged) = Staged::new(Storage::Btrfs, 1) else { return };
    let file = staged.scene.put_pipeline(&staged.repository()).unwrap();
    succeed(&file).await;
    for (number, resume) in ["", "resume = true\n"].into_iter().enumerate() {
        let (file, links) = (format!("{file}{resume}"), 2 * number + 1);
        assert_eq!(staged.links().await, [links]);
        staged.way.be_silent(true);
        let (mut child, begun) = (staged.start(&file), Instant::now());
        while staged.links().await == [links] {
            assert!(child.try_wait().unwrap().is_none(), "it has ended: {}", said(&mut child));
            assert!(begun.elapsed() < Duration::from_secs(100), "there is no manifest");
        }
        child.kill().unwrap();
        said(&mut child);
        staged.way.be_silent(false);
        let recovered = staged.reseed(&["recover", "--json"]).output().unwrap();
        let told = String::from_utf8_lossy(&recovered.stdout);
        assert!(recovered.status.success() && told.contains("\"outcome\":\"done\""), "{told}");
        let next = staged.start(&file).wait_with_output().unwrap();
        assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
        assert_eq!(staged.links().await, [links + 2], "it is an increment and no new chain");
    }
    assert_eq!(staged.store().list("uploads/").await.unwrap(), []);
    let chain = chains(staged.store().as_ref()).await.unwrap().remove(0);
    assert_eq!(verify(&staged.store(), &chain, Depth::Deep).await.unwrap().broken, vec![]);
}

/// A get that is killed while its third increment comes fetches nothing again but that.
async fn a_get_goes_on_behind_what_came_whole(storage: Storage) {
    let Some(mut staged) = Staged::new(storage, 2) else { return };
    let put = format!("{}chunk = \"1MiB\"\n", staged.scene.put_pipeline(&staged.repository()).unwrap());
    for _ in 0..3 {
        staged.scene.write_on();
        succeed(&put).await;
    }
    let chain = chains(staged.store().as_ref()).await.unwrap().remove(0);
    let chunks = |links: &[Link]| -> BTreeSet<String> {
        let streams = links.iter().flat_map(|link| &link.manifest.streams);
        streams.flat_map(|stream| &stream.chunks).map(|chunk| chunk.object.clone()).collect()
    };
    let (before, last) = (chunks(&chain.links[..2]), chunks(&chain.links[2..]));
    let name = storage.name().to_lowercase();
    let into = if storage == Storage::Zfs { staged.scene.b.dataset("copy") } else { staged.scene.b.path("copy") };
    let get = |throttle: &str| {
        format!(
            "name = \"get\"\n{}[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"{name}\"\n\
             resume = true\nahead = 1\n\n{throttle}[[stage]]\nuse = \"{name}-receive\"\ninto = \"{into}\"\n",
            staged.repository()
        )
    };
    let (mut child, begun) =
        (staged.start(&get("[[stage]]\nuse = \"throttle\"\nrate = \"12MiB/s\"\n\n")), Instant::now());
    while staged.way.fetched().keys().all(|name| !last.contains(name)) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended: {}", said(&mut child));
        assert!(begun.elapsed() < Duration::from_secs(100), "it does not get that far");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    said(&mut child);
    let fetched = staged.way.fetched();
    assert!(before.iter().all(|name| fetched.get(name) == Some(&1)), "the first two came, once");
    let next = staged.start(&get("")).wait_with_output().unwrap();
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    let now = staged.way.fetched();
    let again: Vec<_> = before.iter().filter(|name| now.get(*name) != Some(&1)).collect();
    assert!(again.is_empty(), "fetched again: {again:?}");
    assert!(last.iter().all(|name| now.contains_key(name)));
    let over = staged.start(&get("")).wait_with_output().unwrap();
    assert_eq!(over.status.code(), Some(3), "{}", String::from_utf8_lossy(&over.stderr));
    assert!(String::from_utf8_lossy(&over.stderr).contains("holds the newest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_is_killed_goes_on_behind_what_came_whole_on_btrfs() {
    a_get_goes_on_behind_what_came_whole(Storage::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_is_killed_goes_on_behind_what_came_whole_on_zfs() {
    a_get_goes_on_behind_what_came_whole(Storage::Zfs).await;
}
