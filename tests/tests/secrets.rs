//! A secret that can be recognised goes through a whole run and is seen nowhere: in no argument vector of any
//! process, in no line of output, in no file that the run leaves for those after it.

#[allow(dead_code, reason = "each test program uses its part")]
mod basebackup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use basebackup::{Scene as Directories, major};
use reseed_lab::{Major, PairOptions, Seaweed, Storage, Tool, repository_in_bucket};
use reseed_tests::ready_for;
use reseed_tests::scene::Scene;

/// The password that the scene gives to the replication role.
const PASSWORD: &str = "it's: a\\secret";

/// What was seen of all processes of the machine during a run.
#[derive(Debug, Default)]
struct Seen {
    /// Argument vectors with the secret in them.
    leaks: Vec<String>,
    /// Whether a process of the run was seen.
    looked: bool,
}

/// Looks at all argument vectors again and again until it is told to end.
fn look(secret: &str, witness: &str, end: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !end.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            seen.looked |= line.contains(witness);
            if line.contains(secret) && !seen.leaks.contains(&line) {
                seen.leaks.push(line);
            }
        }
    }
    seen
}

/// Runs a pipeline file by the program, with this environment, and fails where the secret is seen, or where no
/// process was seen whose arguments hold `witness`. `secret` must hold nothing that a quoting would change.
async fn runs_without_a_trace(file: &str, environment: &[(&str, &str)], secret: &str, witness: &'static str) {
    let end = Arc::new(AtomicBool::new(false));
    let looking = std::thread::spawn({
        let (secret, end) = (secret.to_owned(), Arc::clone(&end));
        move || look(&secret, witness, &end)
    });
    let state = tempfile::tempdir().unwrap();
    let mut run = Tool::new(reseed_tests::binary()).args(["run", file, "--json", "-v"]).env("RUST_LOG", "trace");
    run = run.env("RESEED_STATE_DIR", state.path().to_string_lossy());
    for (name, value) in environment {
        run = run.env(name, *value);
    }
    let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
    end.store(true, Ordering::Relaxed);
    let seen = looking.join().unwrap();
    let (out, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{talk}\n{out}");
    assert!(seen.looked, "no process of the run was seen");
    assert_eq!(seen.leaks, Vec::<String>::new());
    assert!(out.contains("run.finished") && !talk.is_empty());
    for text in [out, talk] {
        assert_eq!(text.lines().find(|line| line.contains(secret)), None);
    }
    let grep = |word: &str| {
        Tool::new("grep").args(["-rlF", "--", word, &state.path().to_string_lossy()]).output().unwrap().stdout
    };
    assert!(!grep("\"committed\"").is_empty(), "the journal of the run is there");
    assert_eq!(String::from_utf8_lossy(&grep(secret)), "", "the state of runs has the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_seen_nowhere_during_a_run() {
    let Some(major) = major(15) else { return };
    let mut scene = Directories::of(major);
    scene.ask_for_a_password();
    let (file, secret) = (scene.lab.path("pipeline.toml"), scene.lab.path("password"));
    std::fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
    let environment = [("RESEED_TEST_PASSWORD", PASSWORD)];
    for place in ["{ env = \"RESEED_TEST_PASSWORD\" }", &format!("{{ file = \"{secret}\" }}")] {
        let with = format!("[clusters.primary]\npassword = {place}\n");
        scene.edit = vec![("[clusters.primary]\n".into(), with)];
        std::fs::write(&file, scene.pipeline()).unwrap();
        // JSON doubles the backslash: what is behind it stays as it is.
        runs_without_a_trace(&file, &environment, "\\secret", "pg_basebackup").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_bucket_is_seen_nowhere_during_a_run() {
    if !ready_for(Storage::Btrfs) {
        return;
    }
    let storage = Storage::Btrfs;
    let scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
    let server = Seaweed::in_lab(&scene.lab).unwrap();
    server.bucket("offsite").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let by_file = repository_in_bucket(&server, "offsite", directory.path()).unwrap();
    let id = format!("{{ file = \"{}\" }}", directory.path().join("s3-id").display());
    let key = format!("{{ file = \"{}\" }}", directory.path().join("s3-secret").display());
    assert!(by_file.contains(&id) && by_file.contains(&key), "{by_file}");
    let by_environment = by_file.replace(&id, "{ env = \"TEST_ID\" }").replace(&key, "{ env = \"TEST_KEY\" }");
    let environment = [("TEST_ID", server.access_key_id.as_str()), ("TEST_KEY", server.secret_access_key.as_str())];
    let file = directory.path().join("put.toml").to_string_lossy().into_owned();
    for repository in [by_file, by_environment] {
        std::fs::write(&file, scene.put_pipeline(&repository).unwrap()).unwrap();
        runs_without_a_trace(&file, &environment, &server.secret_access_key, "btrfs send").await;
    }
}
