//! What is said otherwise between two puts does not end up in one chain with what was said before.

use reseed_core::event::Event;
use reseed_lab::{Major, PairOptions, Storage, Tool};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready_for;
use reseed_tests::run::{Trial, run, succeed};
use reseed_tests::scene::Scene;
use reseed_transport_s3::chain::chains;
use reseed_transport_s3::format::Manifest;
use reseed_transport_s3::store::FileStore;

struct Staged {
    scene: Scene,
    root: tempfile::TempDir,
}

impl Staged {
    fn on(storage: Storage) -> Option<Self> {
        let options = || PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) };
        ready_for(storage).then(|| {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("offsite")).unwrap();
            Self { scene: Scene::with(&options()), root }
        })
    }

    fn repository(&self, keys: &str) -> String {
        format!("[repositories.offsite]\nurl = \"file://{}/offsite\"\n{keys}\n", self.root.path().display())
    }

    fn put(&self, keys: &str, more: &str) -> String {
        format!("{}chunk = \"1MiB\"\n{more}", self.scene.put_pipeline(&self.repository(keys)).unwrap())
    }

    fn get(&self, keys: &str, storage: &str, into: &str) -> String {
        format!(
            "name = \"get\"\n{}[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"{storage}\"\n\n\
             [[stage]]\nuse = \"{storage}-receive\"\ninto = \"{into}\"\n",
            self.repository(keys)
        )
    }

    async fn newest(&self) -> Manifest {
        let all = chains(&FileStore::new(self.root.path().join("offsite"))).await.unwrap();
        let newest = all.iter().filter_map(|chain| chain.newest()).max_by_key(|link| link.manifest.created);
        newest.unwrap().manifest.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_record_size_begins_a_new_chain_or_is_refused() {
    let Some(staged) = Staged::on(Storage::Zfs) else { return };
    let (put, dataset) = (staged.put("", ""), staged.scene.a.dataset("pgsql"));
    succeed(&put).await;
    assert!(!succeed(&put).await.report.full);
    Tool::new("zfs").args(["set", "recordsize=8k", &dataset]).run().unwrap();
    let told = "its recordsize was 16384 then, and is 8192 now";
    run(&put).await.must_say(3, told, "`max_increments = 0`");
    assert!(succeed(&staged.put("", "max_increments = 0\n")).await.report.full);
    assert!(!succeed(&put).await.report.full);
    // A copy that is got takes over how its chain was made, for what comes to it directly later.
    let into = staged.scene.b.dataset("got");
    succeed(&staged.get("", "zfs", &into)).await;
    let which = "reseed:flags,reseed:recordsize";
    let told = Tool::new("zfs").args(["get", "-H", "-o", "value", which, &format!("{into}/pgsql")]).run().unwrap();
    assert_eq!(told.lines().collect::<Vec<_>>(), ["-", "8192"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_in_the_clear_is_not_gone_on_with_for_a_recipient() {
    let Some(staged) = Staged::on(Storage::Btrfs) else { return };
    let file = staged.put("", "resume = true\n");
    let trial = Trial::of(&file);
    let send = trial.stages().iter().position(|stage| stage == "btrfs-send").unwrap();
    let broken = trial.wrap(send, Faulty::wrap(Fault::StreamBreaks(5 << 20))).run().await;
    assert_eq!(broken.report.exit_code(), 1, "{}", broken.story());
    let identity = staged.root.path().join("identity").to_string_lossy().into_owned();
    Tool::new("age-keygen").args(["-o", &identity]).run().unwrap();
    let recipient = Tool::new("age-keygen").args(["-y", &identity]).run().unwrap().trim().to_owned();

    let keys = format!("recipients = [\"{recipient}\"]\n");
    let ended = succeed(&staged.put(&keys, "resume = true\n")).await;
    let goes_on = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("goes on with what"));
    assert!(!ended.events.iter().any(goes_on), "{}", ended.story());
    let manifest = staged.newest().await;
    assert!(manifest.streams.iter().all(|stream| stream.recipients == [recipient.as_str()]), "{manifest:?}");
    let chunks: Vec<_> = manifest.stored().into_iter().flat_map(|stream| stream.chunks).collect();
    assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk.object.ends_with(".age")), "{chunks:?}");
    let keys = format!("identity = {{ file = \"{identity}\" }}\n");
    succeed(&staged.get(&keys, "btrfs", &staged.scene.b.path("got"))).await;
}
