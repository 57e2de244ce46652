//! The key on the primary bound to `reseed guard`: whole runs pass, and nothing else does.

use std::path::PathBuf;
use std::time::Duration;

use reseed_core::report::Outcome;
use reseed_lab::{FarPath, Major, PairOptions, Recipe, Spread, Sshd, Storage, Tool};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready_for;
use reseed_tests::run::Trial;
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

/// A pair whose key is bound to what this pipeline needs.
struct Guarded {
    scene: Scene,
    directory: tempfile::TempDir,
}

impl Guarded {
    fn on(storage: Storage, spread: Spread, path: FarPath, recipe: &Recipe) -> Option<Self> {
        if !ready_for(storage) {
            return None;
        }
        let options = PairOptions { storage, spread, far_path: path, ..PairOptions::small(Major::newest().unwrap()) };
        let mut guarded = Self { scene: Scene::with(&options), directory: tempfile::tempdir().unwrap() };
        guarded.bind(recipe);
        Some(guarded)
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("guard.log")
    }

    /// Binds the key by the very line that `reseed guard --print` tells.
    fn bind(&mut self, recipe: &Recipe) {
        let file = self.directory.path().join("pipeline.toml");
        std::fs::write(&file, self.scene.pipeline(recipe)).unwrap();
        let sshd = self.sshd();
        let binary = reseed_tests::binary();
        let print = Tool::new(&binary).args(["guard", "--print"]).arg(file.to_string_lossy());
        let print = print.arg("--program").arg(binary.to_string_lossy());
        let print = print.arg("--key").arg(format!("{}.pub", sshd.identity_file));
        let told = print.arg("--log").arg(self.log_file().to_string_lossy()).run().unwrap();
        let (host, line) = told.trim().split_once('\n').unwrap();
        assert_eq!(host, "# primary");
        assert!(line.starts_with("restrict,command=\"exec ") && !line.contains('\n'), "{line}");
        println!("{line}");
        sshd.authorize(line).unwrap();
    }

    fn sshd(&self) -> &Sshd {
        self.scene.sshd.as_ref().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Fails where anything was refused that a run of reseed asked for.
    #[track_caller]
    fn refused_nothing(&self) {
        let log = self.log();
        let refused: Vec<_> = log.lines().filter(|line| !line.contains(": allowed: ")).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(log.lines().count() > 10, "the guard was not asked: {log}");
    }

    /// What the bound key gets for a call of the OpenSSH client.
    fn attack(&self, options: &[&str], line: Option<&str>) -> (Option<i32>, String) {
        let sshd = self.sshd();
        let ssh = Tool::new("ssh").args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-T"]);
        let known = format!("UserKnownHostsFile={}", sshd.known_hosts);
        let ssh = ssh.args(["-o", &known, "-i", &sshd.identity_file, "-p", &sshd.port.to_string()]);
        let ssh = ssh.args(options.iter().copied()).arg("root@127.0.0.1").args(line);
        let output = ssh.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_pass_with_a_key_that_can_do_nothing_else() {
    let recipe = Recipe::default();
    for path in [FarPath::With(vec![reseed_tests::binary()]), FarPath::Usual] {
        let Some(mut guarded) = Guarded::on(Storage::Zfs, Spread::One, path, &recipe) else { return };
        let seed = guarded.scene.succeed(&recipe).await.report;
        let reset = guarded.scene.succeed(&recipe).await.report;
        assert_eq!(reset.from_guid, seed.to_guid);
        guarded.scene.succeed(&recipe).await;
        guarded.refused_nothing();
        let framed = guarded.log().contains("wire send");
        println!("framed: {framed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_serves_data_that_is_spread() {
    let recipe = Recipe::default().with("pg-quiesce", "mode = \"atomic\"");
    let Some(mut guarded) = Guarded::on(Storage::Zfs, Spread::Apart, FarPath::Usual, &recipe) else { return };
    guarded.scene.succeed(&recipe).await;
    guarded.scene.succeed(&recipe).await;
    guarded.refused_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_serves_btrfs() {
    let recipe = Recipe::default();
    let Some(mut guarded) = Guarded::on(Storage::Btrfs, Spread::One, FarPath::Usual, &recipe) else { return };
    guarded.scene.succeed(&recipe).await;
    guarded.scene.succeed(&recipe).await;
    guarded.refused_nothing();
}

/// Undo and the end of dropped jobs go through the guard as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_takes_everything_back_with_a_bound_key() {
    let recipe = Recipe::default();
    let path = FarPath::With(vec![reseed_tests::binary()]);
    let Some(mut guarded) = Guarded::on(Storage::Zfs, Spread::One, path, &recipe) else { return };
    guarded.scene.succeed(&recipe).await;
    let stages = Trial::of(&guarded.scene.pipeline(&recipe)).stages();
    let at = |name: &str| stages.iter().position(|stage| stage == name).unwrap();
    let faults = [
        (at("zfs-snapshot"), Fault::ErrorAfter),
        (at("zfs-receive"), Fault::ErrorDuring(Duration::from_millis(20))),
        (at("zfs-receive"), Fault::CancelDuring(Duration::from_millis(250))),
        (at("pg-switch"), Fault::ErrorBefore),
    ];
    for (index, fault) in faults {
        let before = State::of(&guarded.scene);
        let text = guarded.scene.pipeline(&recipe);
        let ended = Trial::of(&text).wrap(index, Faulty::wrap(fault)).run().await;
        assert_eq!(ended.report.outcome, Outcome::Undone, "{fault:?}\n{}", ended.story());
        assert_eq!(guarded.scene.is_as_it_was(&before), Vec::<String>::new(), "{fault:?}");
    }
    guarded.scene.succeed(&recipe).await;
    guarded.refused_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_with_a_bound_key_changes_and_learns_nothing() {
    let recipe = Recipe::default();
    let Some(mut guarded) = Guarded::on(Storage::Zfs, Spread::One, FarPath::Usual, &recipe) else { return };
    guarded.scene.succeed(&recipe).await;
    guarded.scene.calm();
    let (pool, marker) = (guarded.scene.a.name.clone(), guarded.directory.path().join("marker"));
    let before = State::of(&guarded.scene);
    let touch = format!("touch {}", marker.display());
    let hostile = |argv: &[&str]| {
        let argv = argv.iter().map(|word| word.replace("POOL", &pool)).collect::<Vec<_>>();
        reseed_transport_ssh::guard::asked_for(&[argv])
    };
    let mut lines = vec![touch.clone(), format!("exec sh -c '{touch}' sh"), "bash -i".to_owned(), "id".to_owned()];
    lines.extend([
        hostile(&["touch", &marker.to_string_lossy()]),
        hostile(&["sh", "-c", &touch, "sh"]),
        hostile(&["zfs", "destroy", "-r", "POOL/pgsql"]),
        hostile(&["zfs", "rollback", "-r", "POOL/pgsql@x"]),
        hostile(&["zfs", "receive", "-F", "POOL/pgsql"]),
        hostile(&["zfs", "set", "readonly=on", "POOL/pgsql"]),
        hostile(&["zfs", "snapshot", "POOL/pgsql@mine"]),
        hostile(&["zfs", "send", "POOL@x"]),
        hostile(&["zfs", "create", "POOL/new"]),
        hostile(&["reseed", "wire", "send", "--", "2", "touch", &marker.to_string_lossy()]),
        format!("{}; {touch}", hostile(&["id", "-un"])),
        hostile(&["id", "-un"]).replace("trap : TERM; ", &format!("{touch}; ")),
    ]);
    for line in &lines {
        let (status, said) = guarded.attack(&[], Some(line));
        assert_eq!(status, Some(126), "{line}: {said}");
        assert!(said.contains("reseed guard: "), "{line}: {said}");
    }
    assert_eq!(guarded.attack(&[], None).0, Some(126), "a shell");
    // The lab's sshd has no subsystems; one that has them runs the forced command in their place.
    assert_ne!(guarded.attack(&["-s"], Some("sftp")).0, Some(0), "a subsystem");
    let local = guarded.attack(&["-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22"], None);
    assert_ne!(local.0, Some(0), "a forwarded port: {}", local.1);
    assert!(!marker.exists());
    assert_eq!(State::of(&guarded.scene), before);
    let refused = guarded.log().matches(": refused: ").count();
    assert!(refused > lines.len(), "{refused} refusals are in the log: {}", guarded.log());
    guarded.scene.go_on();
    guarded.scene.succeed(&recipe).await;
}
