//! `reseed staged` on repositories in a directory, whole and harmed.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::process::{Command, Output};

use reseed_core::item::Facts;
use reseed_core::stream::Chunks;
use reseed_transport_s3::chain::publish;
use reseed_transport_s3::chunks::{Keeping, Writing, write};
use reseed_transport_s3::format::{FORMAT, Manifest, Parent, Stream, VERSION};
use reseed_transport_s3::open;
use reseed_transport_s3::seal::{Recipients, Signer};
use serde_json::Value;
use tempfile::TempDir;

/// Keys of nobody, made for these tests.
const SIGNER: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBO2JHb+uY/QrA8ES01EplHRUOSIrTxX1bEkjY7gys4k\n\
                      -----END PRIVATE KEY-----\n";
const TRUSTED: &str = "MCowBQYDK2VwAyEAvLrp7eBCFW/wJTT1h1UswaLCWN0mLRTh7VIs20ZoQH0=";
const STRANGER: &str = "MCowBQYDK2VwAyEAJzLYekR3hsFh4L8h2G9FHYWfv2HWsWYQn0+FME8uILU=";
const RECIPIENT: &str = "age1dmsju2syulvxd6kkff96nwsjmu0z9v2rjky0kk37m2f98xa96psqx9f94a";
const IDENTITY: &str = "AGE-SECRET-KEY-1Q43GHNJVR4GS553UGQSYT8FH9SXQZZAQY4JC0FDCKYHR7VKE5GWQJ6C8VH";

/// A repository with one chain: a full and an increment.
struct Repository {
    directory: TempDir,
    url: String,
}

impl Repository {
    fn new(recipients: &[&str], signer: Option<&Signer>) -> Self {
        Self::of("nowhere", recipients, signer)
    }

    /// Of a storage whose streams these are said to be.
    fn of(storage: &str, recipients: &[&str], signer: Option<&Signer>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}", directory.path().display());
        let recipients = Recipients::parse(recipients.iter().copied()).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let full = put(&url, storage, None, &recipients, signer).await;
            put(&url, storage, Some(full), &recipients, signer).await;
        });
        Self { directory, url }
    }

    fn staged(&self, what: &str, options: &[&str]) -> Output {
        reseed(&[&[what, &self.url], options].concat())
    }

    fn path(&self, object: &str) -> std::path::PathBuf {
        self.directory.path().join(object)
    }
}

async fn put(
    url: &str,
    storage: &str,
    parent: Option<Parent>,
    recipients: &Recipients,
    signer: Option<&Signer>,
) -> Parent {
    let store = open(url, &|_| None).unwrap();
    let depth = u32::from(parent.is_some());
    let run = format!("run{depth}");
    let how = Writing { chunk: 1000, level: 3, in_flight: 2, recipients: recipients.clone() };
    let data = Box::new(Chunks::new(vec![vec![7; 2500].into()]));
    let written = write(&Keeping::new(&store, &run), 0, data, &how).await.unwrap();
    let stream = Stream {
        dataset: "tank/pg".into(),
        mountpoint: "/pg".into(),
        snapshot: format!("s{depth}"),
        guid: format!("g{depth}"),
        from_guid: parent.is_some().then(|| "g0".into()),
        between: vec![],
        made: None,
        main: true,
        encodings: vec![],
        recipients: recipients.names(),
        size: written.size,
        sha256: written.sha256,
        head: None,
        chunks: written.chunks,
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        signature: None,
        run,
        created: 1_767_225_600 + u64::from(depth),
        parent,
        depth,
        storage: storage.into(),
        streams: vec![stream],
        left_out: vec![],
        files: vec![],
        facts: Facts::default(),
    };
    let manifest = manifest.signed(signer).unwrap();
    publish(store.as_ref(), "run0", &manifest).await.unwrap().as_parent()
}

fn reseed(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reseed")).arg("staged").args(args).output().unwrap()
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

const CHAIN: &str = "tank_2Fpg/run0";
const FULL: &str = "manifests/tank_2Fpg/run0/000000.json";
const INCREMENT: &str = "manifests/tank_2Fpg/run0/000001.json";

#[test]
fn what_is_there_is_listed_and_shown() {
    let repository = Repository::new(&[], None);
    let (code, table, _) = told(&repository.staged("list", &[]));
    let row = table.lines().nth(1).unwrap();
    assert!(code == 0 && row.starts_with(CHAIN) && row.contains("tank/pg") && row.ends_with("whole"), "{table}");
    let chain = json(&repository.staged("list", &["--json"]));
    assert_eq!((chain["increments"].as_u64(), chain["stream_bytes"].as_u64()), (Some(1), Some(5000)));
    assert_eq!(chain["newest"]["manifest"], INCREMENT);

    let (code, text, _) = told(&repository.staged("show", &[]));
    assert!(code == 0 && text.contains(&format!("increment 1 after {FULL}")), "{text}");
    assert!(
        text.contains("tank/pg@s1 (/pg), guid g1, from g0") && text.contains("not encrypted, not signed"),
        "{text}"
    );
    assert_eq!(json(&repository.staged("show", &[CHAIN, "--json"]))["object"], INCREMENT);
    assert_eq!(json(&repository.staged("show", &[FULL, "--json"]))["manifest"]["run"], "run0");
}

#[test]
fn what_is_whole_is_verified_and_what_is_not_is_named() {
    let repository = Repository::new(&[], None);
    for options in [&[][..], &["--deep"], &["--chain", CHAIN]] {
        let (code, text, _) = told(&repository.staged("verify", options));
        assert!(code == 0 && text.contains("whole: 2 manifests, 6 chunks"), "{options:?}: {text}");
    }

    let chunks = std::fs::read_dir(repository.path("chunks/run1/000")).unwrap();
    let mut chunks: Vec<_> = chunks.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    chunks.sort();
    let harmed = format!("chunks/run1/000/{}", chunks[1]);
    let mut bytes = std::fs::read(repository.path(&harmed)).unwrap();
    bytes[9] ^= 1;
    std::fs::write(repository.path(&harmed), bytes).unwrap();
    assert_eq!(told(&repository.staged("verify", &[])).0, 0, "only a deep look can see this");
    let output = repository.staged("verify", &["--deep", "--json"]);
    let verdict = json(&output);
    assert_eq!(
        (told(&output).0, verdict["ok"].as_bool(), &verdict["broken"][0]["object"]),
        (1, Some(false), &Value::from(&*harmed))
    );
    assert_eq!(verdict["restorable"], FULL);

    std::fs::remove_file(repository.path(&harmed)).unwrap();
    let (code, text, _) = told(&repository.staged("verify", &[]));
    assert!(code == 1 && text.contains(&format!("{harmed}: it is missing")), "{text}");
    assert!(text.contains(&format!("can be restored up to {FULL}")), "{text}");

    std::fs::remove_file(repository.path(FULL)).unwrap();
    let (code, text, _) = told(&repository.staged("verify", &[]));
    assert!(code == 1 && text.contains("nothing of it can be restored"), "{text}");
}

#[test]
fn a_stream_that_its_storage_could_not_read_is_named() {
    let repository = Repository::of("zfs", &[], None);
    assert_eq!(told(&repository.staged("verify", &[])).0, 0, "every object is there");
    let (code, text, _) = told(&repository.staged("verify", &["--deep"]));
    assert!(code == 1 && text.contains("chunks/run0/000/00000000-") && text.contains("is no stream of ZFS"), "{text}");
}

#[test]
fn what_is_sealed_is_verified_with_its_keys_only() {
    let signer = Signer::parse(SIGNER).unwrap();
    let repository = Repository::new(&[RECIPIENT], Some(&signer));
    let key = repository.path("key");
    std::fs::write(&key, IDENTITY).unwrap();
    let key = key.to_str().unwrap();

    let (code, text, _) = told(&repository.staged("verify", &["--deep", "--trusted", TRUSTED, "--identity", key]));
    assert!(code == 0 && text.contains("6 chunks"), "{text}");
    assert_eq!(told(&repository.staged("verify", &[])).0, 0, "presence and sizes need no key");
    let (code, _, error) = told(&repository.staged("verify", &["--deep"]));
    assert!(code == 1 && error.contains("is encrypted") && error.contains("hint:"), "{code}: {error}");
    let (code, text, _) = told(&repository.staged("verify", &["--trusted", STRANGER]));
    assert!(code == 1 && text.contains(FULL) && text.contains("nothing of it can be restored"), "{text}");
    let (_, text, _) = told(&repository.staged("show", &[]));
    assert!(text.contains(&format!("encrypted to {RECIPIENT}, signed")), "{text}");
}

#[test]
fn what_is_not_kept_is_shown_then_marked_then_gone() {
    let repository = Repository::new(&[], None);
    // A newer chain: the first is not kept any more.
    let full = repository.path(FULL);
    let newer = std::fs::read_to_string(&full).unwrap().replace("run0", "run9").replace("17672256", "18672256");
    let path = repository.path("manifests/tank_2Fpg/run9/000000.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::create_dir_all(repository.path("chunks/run9")).unwrap();
    std::fs::write(path, newer).unwrap();
    Command::new("cp")
        .arg("-r")
        .arg(repository.path("chunks/run0/000"))
        .arg(repository.path("chunks/run9"))
        .status()
        .unwrap();
    let keep = ["--last", "1", "--grace", "0s"];
    let (code, text, _) = told(&repository.staged("prune", &keep));
    assert!(code == 0 && text.contains(&format!("would be marked: {INCREMENT}")), "{text}");
    assert!(text.contains("nothing was changed") && full.exists() && !repository.path("prune").exists(), "{text}");
    let (_, text, _) = told(&repository.staged("prune", &[&keep[..], &["--apply"]].concat()));
    assert!(text.contains(&format!("marked now: {FULL}")) && full.exists(), "{text}");
    let shown = json(&repository.staged("prune", &[&keep[..], &["--json"]].concat()));
    assert_eq!((&shown["applied"], &shown["surplus"][0]["goes"]), (&false.into(), &true.into()), "{shown}");
    let (_, text, _) = told(&repository.staged("prune", &[&keep[..], &["--apply"]].concat()));
    assert!(text.contains("gone: 8 objects") && !full.exists(), "{text}");
    let (_, text, _) = told(&repository.staged("verify", &["--deep"]));
    assert!(text.contains("tank_2Fpg/run9: whole: 1 manifest, 3 chunks"), "{text}");
}

#[test]
fn a_restore_shows_the_pipeline_file_that_it_runs() {
    let repository = Repository::of("zfs", &[], None);
    let print = |more: &[&str]| repository.staged("restore", &[&["--into", "data/reseed", "--print"], more].concat());
    let (code, text, _) = told(&print(&[]));
    assert!(code == 0 && text.contains(&format!("state = \"{INCREMENT}\"")) && !text.contains("pg-switch"), "{text}");
    let (_, text, _) = told(&print(&["--state", FULL, "--data-directory", "/data", "--port", "5433"]));
    assert!(text.contains(&format!("state = \"{FULL}\"")) && text.contains("port = 5433"), "{text}");
    let (code, _, error) = told(&print(&["--state", "x"]));
    assert!(code == 2 && error.contains(CHAIN), "{error}");
    // What no stage receives is told before anything runs.
    let other = Repository::of("hologram", &[], None).staged("restore", &["--into", "data/reseed"]);
    let (code, _, text) = told(&other);
    assert!(code == 3 && text.contains("no stage `hologram-receive`") && text.contains("hint: "), "{text}");
}

#[test]
fn a_wrong_call_exits_with_2_and_says_what_would_be_right() {
    let repository = Repository::new(&[], None);
    let empty = tempfile::tempdir().unwrap();
    let empty = format!("file://{}", empty.path().display());
    for (args, say) in [
        (&["list", "http://x/y"][..], "hint:"),
        (&["verify", &empty], "has s3-put run"),
        (&["verify", &repository.url, "--chain", "x"], CHAIN),
        (&["show", &repository.url, "x"], CHAIN),
        (&["prune", &repository.url], "--daily 14"),
        (&["restore", &empty, "--into", "a/b"], "has s3-put run"),
        (&["list", &repository.url, "--trusted", "x"], "openssl"),
        (&["verify", &repository.url, "--identity", "/nowhere"], "/nowhere"),
        (&["verify", &repository.url, "--identity", "/etc/hostname"], "age-keygen"),
    ] {
        let (code, data, error) = told(&reseed(args));
        assert!(code == 2 && data.is_empty() && error.contains(say), "{args:?}: {code}: {error}");
    }
    let (code, data, talk) = told(&reseed(&["list", &empty]));
    assert!(code == 0 && data.is_empty() && talk.contains("there are no chains"), "{talk}");
}
