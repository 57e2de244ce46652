//! One command on the worst day, and its rehearsal: the real program on what was put into a repository.
#![expect(clippy::disallowed_methods, reason = "the program itself is what is tested")]

use std::process::{Command, Output};
use std::sync::Arc;

use reseed_core::report::Outcome;
use reseed_lab::{Major, PairOptions, Spread, Storage, repository_in_directory};
use reseed_tests::run::{run, succeed};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{binary, ready_for};
use reseed_transport_s3::chain::chains;
use reseed_transport_s3::store::{FileStore, Store};
use reseed_transport_s3::verify::{Depth, verify};

struct Offsite {
    scene: Scene,
    root: tempfile::TempDir,
}

impl Offsite {
    /// A repository that has a full and an increment, put while the primary was written to.
    async fn on(storage: Storage, spread: Spread) -> Option<Self> {
        let options = || PairOptions { storage, spread, ..PairOptions::small(Major::newest().unwrap()) };
        let scene = ready_for(storage).then(|| Scene::with(&options()))?;
        let mut offsite = Self { scene, root: tempfile::tempdir().unwrap() };
        let file = offsite.scene.put_pipeline(&repository_in_directory(offsite.root.path())).unwrap();
        for _ in 0..2 {
            offsite.scene.write_on();
            succeed(&file).await;
        }
        Some(offsite)
    }

    fn staged(&self, what: &str, options: &[&str]) -> Output {
        let url = format!("file://{}", self.root.path().display());
        let programs = self.scene.standby.programs.display().to_string();
        let mut command = Command::new(binary());
        command.env("RESEED_STATE_DIR", self.root.path().join("state"));
        command.args(["staged", what, &url, "--bin-directory", &programs]).args(options).output().unwrap()
    }

    /// Where data is received.
    fn below(&self) -> String {
        match self.scene.storage {
            Storage::Zfs => self.scene.b.dataset("restored"),
            _ => self.scene.b.path("restored"),
        }
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn restores(storage: Storage) {
    let Some(mut offsite) = Offsite::on(storage, Spread::One).await else { return };
    offsite.scene.calm();
    let rows = offsite.scene.primary.rows().unwrap();
    let put = offsite.scene.put_pipeline(&repository_in_directory(offsite.root.path())).unwrap();
    succeed(&put).await;
    offsite.scene.primary.stop().unwrap();
    let standby = &offsite.scene.standby;
    let (into, port) = (offsite.below(), standby.port.to_string());
    let options = ["--into", &into, "--data-directory", &standby.data, "--port", &port, "--sockets", &standby.sockets];
    let output = offsite.staged("restore", &options);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("pg_ctl promote"), "{}", told(&output));
    assert_eq!(standby.sql("select pg_is_in_recovery()").unwrap(), "t");
    assert_eq!(standby.rows().unwrap(), rows);
    offsite.scene.primary.start().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_makes_a_server_of_a_repository_on_btrfs() {
    restores(Storage::Btrfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_makes_a_server_of_a_repository_on_zfs() {
    restores(Storage::Zfs).await;
}

async fn rehearses(storage: Storage, spread: Spread) {
    let Some(offsite) = Offsite::on(storage, spread).await else { return };
    offsite.scene.primary.sql("create extension if not exists amcheck").unwrap();
    let put = offsite.scene.put_pipeline(&repository_in_directory(offsite.root.path())).unwrap();
    succeed(&put).await;
    let before = State::of(&offsite.scene);
    let scratch = || {
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.into_iter().filter(|name| name.starts_with("reseed-rehearsal-")).count()
    };
    let left_before = scratch();
    let below = match storage {
        Storage::Zfs => offsite.scene.b.name.clone(),
        _ => offsite.scene.b.mountpoint.clone(),
    };
    let output = offsite.staged("verify", &["--rehearse", &below]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("pg_amcheck found nothing wrong"), "{}", told(&output));
    let clean = || {
        let left = State::of(&offsite.scene).difference(&before);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(scratch(), left_before);
    };
    clean();
    // One that can't succeed: a chunk is not what was stored, which a shallow look can't see.
    let mut chunks = vec![offsite.root.path().join("chunks")];
    while chunks.last().unwrap().is_dir() {
        let next = std::fs::read_dir(chunks.last().unwrap()).unwrap().next().unwrap().unwrap().path();
        chunks.push(next);
    }
    let chunk = chunks.pop().unwrap();
    let mut bytes = std::fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    let output = offsite.staged("verify", &["--rehearse", &below]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_leaves_nothing_on_btrfs() {
    rehearses(Storage::Btrfs, Spread::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_of_parts_that_lie_apart_leaves_nothing_on_btrfs() {
    rehearses(Storage::Btrfs, Spread::Apart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_leaves_nothing_on_zfs() {
    rehearses(Storage::Zfs, Spread::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_puts_at_once_one_wins_and_the_other_says_so() {
    let Some(mut offsite) = Offsite::on(Storage::Btrfs, Spread::One).await else { return };
    offsite.scene.write_on();
    let file = offsite.scene.put_pipeline(&repository_in_directory(offsite.root.path())).unwrap();
    let slow = "[[stage]]\nuse = \"throttle\"\nrate = \"8MiB/s\"\n\n[[stage]]\nuse = \"s3-put\"";
    let file = file.replace("[[stage]]\nuse = \"s3-put\"", slow);
    let (one, two) = tokio::join!(run(&file), run(&file));
    let ended = [one, two];
    let won = ended.iter().filter(|ended| ended.report.outcome == Outcome::Done).count();
    assert_eq!(won, 1, "{}\n{}", ended[0].story(), ended[1].story());
    let lost = ended.iter().find(|ended| ended.report.outcome != Outcome::Done).unwrap();
    assert_eq!(lost.report.outcome, Outcome::Undone, "{}", lost.story());
    let told = lost.report.error.clone().unwrap_or_default();
    assert!(told.contains("another run has written") || told.contains("does not start where"), "{told}");
    assert!(lost.report.hint.is_some(), "{}", lost.story());
    let store: Arc<dyn Store> = Arc::new(FileStore::new(offsite.root.path()));
    let chain = chains(store.as_ref()).await.unwrap().remove(0);
    assert_eq!((chain.links.len(), &chain.broken), (3, &None));
    assert_eq!(verify(&store, &chain, Depth::Deep).await.unwrap().broken, vec![]);
    let named = chain.links.iter().flat_map(|link| link.manifest.stored()).flat_map(|stream| stream.chunks).count();
    assert_eq!(store.list("chunks/").await.unwrap().len(), named, "what the other put is gone");
    assert_eq!(store.list("uploads/").await.unwrap(), []);
}
