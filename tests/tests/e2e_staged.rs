//! The staged repository on real storages and a real PostgreSQL under load: what is put can be got,
//! whole and by increments, by reseed and without it.

use std::path::Path;
use std::sync::Arc;

use reseed_core::report::{Outcome, RunReport};
use reseed_lab::{Major, PairOptions, Seaweed, Storage, Tool};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready_for;
use reseed_tests::run::{Trial, run, succeed};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_transport_s3::chain::chains;
use reseed_transport_s3::store::{FileStore, Store};
use reseed_transport_s3::verify::{Depth, verify};

/// A scene, and a directory for the repository.
struct Staged {
    scene: Scene,
    root: tempfile::TempDir,
    /// Where the repository is a bucket.
    server: Option<Seaweed>,
    /// Lines of the repository's table for who puts, and for who gets.
    keys: [String; 2],
}

impl Staged {
    fn on(storage: Storage) -> Option<Self> {
        let options = || PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) };
        let root = tempfile::tempdir().unwrap();
        ready_for(storage).then(|| Self {
            scene: Scene::with(&options()),
            root,
            server: None,
            keys: Default::default(),
        })
    }

    fn storage(&self) -> &'static str {
        if self.scene.storage == Storage::Zfs { "zfs" } else { "btrfs" }
    }

    fn in_a_bucket(mut self) -> Self {
        let server = Seaweed::in_lab(&self.scene.lab).unwrap();
        server.bucket("offsite").unwrap();
        std::fs::write(self.root.path().join("id"), &server.access_key_id).unwrap();
        std::fs::write(self.root.path().join("secret"), &server.secret_access_key).unwrap();
        self.server = Some(server);
        self
    }

    /// Keys of its own: who puts has the recipient and the signing key, who gets the others.
    fn sealed(mut self) -> Self {
        let keys = Keys::make(&self.root.path().join("keys"));
        self.keys = [
            format!("recipients = [\"{}\"]\nsign = {}\n", keys.recipient, keys.file("sign")),
            format!("identity = {}\ntrusted = [\"{}\"]\n", keys.file("identity"), keys.public),
        ];
        self
    }

    fn repository(&self, keys: &str) -> String {
        if let Some(server) = &self.server {
            let (endpoint, root) = (server.endpoint(), self.root.path().display());
            return format!(
                "[repositories.offsite]\nurl = \"s3://offsite/pg\"\nendpoint = \"{endpoint}\"\n\
                 access_key_id = {{ file = \"{root}/id\" }}\nsecret_access_key = {{ file = \"{root}/secret\" }}\n{keys}\n"
            );
        }
        format!("[repositories.offsite]\nurl = \"file://{}\"\n{keys}\n", self.root.path().display())
    }

    fn put_file(&self) -> String {
        let (storage, conninfo) = (self.storage(), self.scene.primary.conninfo());
        format!(
            "name = \"put\"\n{}[clusters.primary]\nconninfo = \"{conninfo}\"\n\n\
             [[stage]]\nuse = \"pg-quiesce\"\ncluster = \"primary\"\n\n[[stage]]\nuse = \"{storage}-snapshot\"\n\n\
             [[stage]]\nuse = \"pg-release\"\n\n[[stage]]\nuse = \"{storage}-send\"\n\n\
             [[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\nchunk = \"1MiB\"\n",
            self.repository(&self.keys[0])
        )
    }

    fn get_file(&self, into: &str) -> String {
        self.get_with(into, &self.keys[1])
    }

    fn get_with(&self, into: &str, keys: &str) -> String {
        let (storage, into) = (self.storage(), self.scene.b.dataset(into));
        format!(
            "name = \"get\"\n{}[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"{storage}\"\n\n\
             [[stage]]\nuse = \"{storage}-receive\"\ninto = \"{into}\"\n",
            self.repository(keys)
        )
    }

    async fn put(&self) -> RunReport {
        succeed(&self.put_file()).await.report
    }

    async fn get(&self, into: &str) -> RunReport {
        succeed(&self.get_file(into)).await.report
    }

    /// Every object's name.
    async fn objects(&self) -> Vec<String> {
        let store = FileStore::new(self.root.path());
        store.list("").await.unwrap().into_iter().map(|object| object.key.to_string()).collect()
    }

    async fn is_sound(&self) {
        let store: Arc<dyn Store> = Arc::new(FileStore::new(self.root.path()));
        for chain in chains(store.as_ref()).await.unwrap() {
            let verdict = verify(&store, &chain, Depth::Deep).await.unwrap();
            assert_eq!(verdict.broken, vec![]);
            assert_eq!(verdict.restorable.as_deref(), chain.newest().map(|link| link.key.as_str()));
        }
    }
}

/// Keys, made by the programs that `docs/format.md` names.
struct Keys {
    directory: std::path::PathBuf,
    recipient: String,
    public: String,
}

impl Keys {
    fn make(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        Tool::new("age-keygen").args(["-o", &path("identity")]).run().unwrap();
        let recipient = Tool::new("age-keygen").args(["-y", &path("identity")]).run().unwrap().trim().to_owned();
        Tool::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out", &path("sign")]).run().unwrap();
        let openssl = ["pkey", "-in", &path("sign"), "-pubout", "-out", &path("sign.pub")];
        Tool::new("openssl").args(openssl).run().unwrap();
        let pem = std::fs::read_to_string(path("sign.pub")).unwrap();
        let public = pem.lines().nth(1).unwrap().to_owned();
        Self { directory: directory.to_owned(), recipient, public }
    }

    fn file(&self, name: &str) -> String {
        format!("{{ file = \"{}\" }}", self.directory.join(name).display())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_comes_to_who_has_the_keys_and_to_nobody_else() {
    let Some(staged) = Staged::on(Storage::Btrfs) else { return };
    let staged = staged.sealed();
    let full = staged.put().await;
    assert!(!staged.put().await.full, "who puts trusts its own signature");
    let before = State::of(&staged.scene);
    let other = tempfile::tempdir().unwrap();
    let other = Keys::make(other.path());
    let own = &staged.keys[1];
    let (identity, trusted) = own.split_once('\n').unwrap();
    for (keys, why) in [
        (trusted.to_owned(), "is encrypted, and no identity is given"),
        (format!("identity = {}\n{trusted}", other.file("identity")), "the identity that is given is of another key"),
        (format!("{identity}\ntrusted = [\"{}\"]\n", other.public), "signed by a key that is not trusted"),
    ] {
        is_refused(&staged, &keys, why).await;
    }
    let manifests: Vec<_> = staged.objects().await.into_iter().filter(|name| name.starts_with("manifests/")).collect();
    for manifest in &manifests {
        let path = staged.root.path().join(manifest);
        let whole = std::fs::read_to_string(&path).unwrap();
        let unsigned = whole.lines().filter(|line| !line.starts_with("  \"signature\"")).collect::<Vec<_>>().join("\n");
        for (text, why) in [
            (format!("{unsigned}\n"), "it is not signed"),
            (whole.replace("\"created\": 1", "\"created\": 2"), "it was altered"),
        ] {
            assert_ne!(text, whole);
            std::fs::write(&path, text).unwrap();
            is_refused(&staged, own, &format!("{manifest} is not trusted: {why}")).await;
        }
        std::fs::write(&path, whole).unwrap();
    }
    let left = State::of(&staged.scene).difference(&before);
    assert!(left.is_empty(), "{left:?}");
    let whole = staged.get("one").await;
    assert!(whole.stream_bytes > full.stream_bytes, "the full and the increment: {whole:?}");
}

async fn is_refused(staged: &Staged, keys: &str, why: &str) {
    let ended = run(&staged.get_with("one", keys)).await;
    assert_eq!(ended.report.exit_code(), 3, "{}", ended.story());
    assert!(ended.report.error.as_ref().is_some_and(|error| error.contains(why)), "{why}: {}", ended.story());
}

async fn comes_back(storage: Storage) {
    let Some(staged) = Staged::on(storage) else { return };
    let full = staged.put().await;
    assert!(full.full && full.from_guid.is_none() && full.wire_bytes < full.stream_bytes, "{full:?}");
    let first = staged.get("one").await;
    assert!(first.full, "{first:?}");
    assert_eq!((first.to_guid, first.stream_bytes), (full.to_guid.clone(), full.stream_bytes));
    let second = staged.put().await;
    assert_eq!((second.full, second.from_guid.clone()), (false, full.to_guid), "{second:?}");
    let third = staged.put().await;
    // One target has the full and takes two increments, another takes the whole chain.
    let grown = staged.get("one").await;
    assert_eq!(
        (grown.to_guid.clone(), grown.stream_bytes),
        (third.to_guid.clone(), second.stream_bytes + third.stream_bytes)
    );
    // A btrfs has one memory of what was received, wherever that lies.
    if storage == Storage::Zfs {
        let whole = staged.get("two").await;
        assert_eq!(whole.to_guid, third.to_guid);
        assert_eq!(whole.stream_bytes, full.stream_bytes + second.stream_bytes + third.stream_bytes);
        // Although it came in one run, its full is a pristine copy, and each increment a snapshot that is pruned.
        let copy = format!("{}/pgsql", staged.scene.b.dataset("two"));
        let told = |which: &str, of_snapshots: bool| -> Vec<String> {
            let told = Tool::new("zfs").args(["get", "-H", "-r", "-o", "name,value", which, &copy]).run().unwrap();
            let lines = told.lines().map(|line| line.split_once('\t').unwrap());
            lines.filter(|(of, _)| of.contains('@') == of_snapshots).map(|(_, is)| is.to_owned()).collect()
        };
        assert_eq!(told("canmount,mountpoint", false), ["noauto", "none"]);
        let marks = told("reseed:target", true);
        assert!(marks.len() == 2 && !marks.contains(&"-".to_owned()), "{marks:?}");
    }
    staged.is_sound().await;
    let again = run(&staged.get_file("one")).await;
    assert_eq!(again.report.exit_code(), 3, "{}", again.story());
    assert!(again.report.error.is_some_and(|error| error.contains("holds the newest")));
    assert!(State::of(&staged.scene).slots.is_empty(), "nobody follows, so no WAL is retained");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_on_btrfs_can_be_got() {
    comes_back(Storage::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_on_zfs_can_be_got() {
    comes_back(Storage::Zfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_bucket_can_be_got() {
    let Some(staged) = Staged::on(Storage::Btrfs) else { return };
    let staged = staged.in_a_bucket();
    let full = staged.put().await;
    let second = staged.put().await;
    assert_eq!((full.full, second.full), (true, false));
    let whole = staged.get("one").await;
    assert_eq!((whole.full, whole.from_guid), (true, None), "the whole chain, and not its last increment alone");
    assert_eq!((whole.to_guid, whole.stream_bytes), (second.to_guid, full.stream_bytes + second.stream_bytes));
    assert_eq!(whole.wire_bytes, full.wire_bytes + second.wire_bytes, "what was stored is what was fetched");
    let third = staged.put().await;
    assert_eq!(staged.get("one").await.to_guid, third.to_guid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_fails_leaves_nothing_in_the_repository() {
    let Some(staged) = Staged::on(Storage::Btrfs) else { return };
    staged.put().await;
    let (objects, before) = (staged.objects().await, State::of(&staged.scene));
    let stages = Trial::of(&staged.put_file()).stages();
    let (send, put) = (stages.len() - 2, stages.len() - 1);
    for (index, fault) in
        [(send, Fault::StreamBreaks(0)), (send, Fault::StreamBreaks(100_000)), (put, Fault::ErrorBefore)]
    {
        let ended = Trial::of(&staged.put_file()).wrap(index, Faulty::wrap(fault)).run().await;
        assert_eq!(ended.report.outcome, Outcome::Undone, "{}", ended.story());
        assert_eq!(staged.objects().await, objects, "{fault:?}");
        let left = State::of(&staged.scene).difference(&before);
        assert!(left.is_empty(), "{left:?}");
    }
    let next = staged.put().await;
    assert!(!next.full, "{next:?}");
    staged.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_altered_reaches_no_receiver() {
    let Some(staged) = Staged::on(Storage::Btrfs) else { return };
    staged.put().await;
    let objects = staged.objects().await;
    let chunk = objects.iter().rfind(|name| name.starts_with("chunks/")).unwrap();
    let path = staged.root.path().join(chunk);
    let whole = std::fs::read(&path).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    let before = State::of(&staged.scene);
    for harm in [Some(altered), None] {
        match harm {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let ended = run(&staged.get_file("one")).await;
        assert_eq!(ended.report.outcome, Outcome::Undone, "{}", ended.story());
        assert!(ended.report.error.as_ref().is_some_and(|error| error.contains(chunk)), "{}", ended.story());
        let left = State::of(&staged.scene).difference(&before);
        assert!(left.is_empty(), "{left:?}");
    }
    std::fs::write(&path, whole).unwrap();
    staged.get("one").await;
}

/// As `docs/format.md` says it.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_comes_back_without_reseed() {
    let Some(staged) = Staged::on(Storage::Zfs) else { return };
    back_by_hand(&staged).await;
}

/// The same, with `age` and `openssl`.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_data_comes_back_without_reseed() {
    let Some(staged) = Staged::on(Storage::Zfs) else { return };
    back_by_hand(&staged.sealed()).await;
}

async fn back_by_hand(staged: &Staged) {
    staged.put().await;
    let last = staged.put().await;
    let dataset = staged.scene.b.dataset("restored");
    let manifests = staged.objects().await.into_iter().filter(|name| name.starts_with("manifests/"));
    for manifest in manifests {
        if !staged.keys[0].is_empty() {
            signed_by_hand(staged.root.path(), &manifest);
        }
        by_hand(staged.root.path(), &manifest, &dataset);
    }
    let guids = Tool::new("zfs").args(["get", "-Hp", "-r", "-o", "value", "guid", &dataset]).run().unwrap();
    let newest = u64::from_str_radix(last.to_guid.as_deref().unwrap(), 16).unwrap();
    assert!(guids.lines().any(|guid| guid == newest.to_string()), "{newest} is not in {guids}");
}

const BY_HAND: &str = r#"cd "$1" && echo "$3" | sha256sum --check --quiet &&
for c in $2; do case $c in *.age) age -d -i keys/identity "$c" || break ;; *) cat "$c" ;; esac; done | zstd -dc > stream &&
echo "$4  stream" | sha256sum --check --quiet && zfs receive -u "$5" < stream; s=$?; rm -f stream; exit $s"#;

fn by_hand(root: &Path, manifest: &str, dataset: &str) {
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(root.join(manifest)).unwrap()).unwrap();
    let stream = &manifest["streams"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let chunks = stream["chunks"].as_array().unwrap();
    let objects: Vec<_> = chunks.iter().map(|chunk| text(&chunk["object"])).collect();
    let sums: Vec<_> =
        chunks.iter().map(|chunk| format!("{}  {}", text(&chunk["sha256"]), text(&chunk["object"]))).collect();
    let sh = Tool::new("sh").args(["-c", BY_HAND, "sh"]).arg(root.to_string_lossy());
    let sh = sh.args([objects.join(" "), sums.join("\n"), text(&stream["sha256"]), dataset.to_owned()]);
    sh.run().unwrap();
}

const SIGNED: &str = r#"cd "$1" && sed '/^  "signature": "[A-Za-z0-9+/=]*",$/d' "$2" > signed &&
sed -n 's/^  "signature": "\([A-Za-z0-9+/=]*\)",$/\1/p' "$2" | base64 -d > signature &&
openssl pkeyutl -verify -pubin -inkey keys/sign.pub -rawin -in signed -sigfile signature; s=$?
rm -f signed signature; exit $s"#;

fn signed_by_hand(root: &Path, manifest: &str) {
    let check = || Tool::new("sh").args(["-c", SIGNED, "sh"]).arg(root.to_string_lossy()).arg(manifest).run();
    check().unwrap();
    let path = root.join(manifest);
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replace("\"created\": 1", "\"created\": 2")).unwrap();
    check().unwrap_err();
    std::fs::write(&path, whole).unwrap();
}
