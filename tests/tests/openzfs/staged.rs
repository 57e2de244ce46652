//! Puts and gets that were cut off in the middle of a stream go on there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::event::Event;
use reseed_core::report::RunReport;
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::run::{Ended, Trial};
use reseed_tests::vms::{PATIENCE, SENDER, Vm};
use reseed_transport_s3::chain::chains;
use reseed_transport_s3::store::{FileStore, Store};
use reseed_transport_s3::verify::{Depth, verify};

use crate::chain::{COPY, Chain, SOURCE};

/// Where the child finds its pipeline file.
const FILE: &str = "RESEED_TEST_FILE";
/// Bytes of a chunk, as the pipeline file says.
const CHUNK: u64 = 2 << 20;
/// Chunks that are on their way at once, and the one that is being filled.
const GOING: u64 = 3;
/// Bytes that may come a second time, as the receiver had not written them down yet.
const TWICE: u64 = 4 << 20;

struct Staged {
    chain: Chain,
    root: tempfile::TempDir,
}

impl Staged {
    /// A dataset of 48 MiB that do not compress.
    fn new() -> Self {
        let chain = Chain::new("");
        chain.write("second", 40);
        Self { chain, root: tempfile::tempdir().unwrap() }
    }

    fn repository(&self) -> String {
        format!(
            "[repositories.offsite]\nurl = \"file://{}\"\n\n{}",
            self.root.path().display(),
            self.chain.vms.hosts(SENDER)
        )
    }

    fn put_file(&self) -> String {
        format!(
            "name = \"put\"\n{}\n\
             [[stage]]\nuse = \"bare-source\"\non = \"primary\"\ndirectory = \"/tank/data\"\n\
             [[stage]]\nuse = \"zfs-snapshot\"\non = \"primary\"\n\
             [[stage]]\nuse = \"zfs-send\"\n\
             [[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\nchunk = \"2MiB\"\nin_flight = 2\nresume = true\n",
            self.repository()
        )
    }

    fn get(&self) -> Trial {
        let file = format!(
            "name = \"get\"\n{}\n\
             [[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"zfs\"\nresume = true\n\
             [[stage]]\nuse = \"zfs-receive\"\non = \"standby\"\ninto = \"tank/reseed\"\n",
            self.repository()
        );
        Trial::of(&file).patience(PATIENCE)
    }

    async fn put(&self) -> Ended {
        let ended = Trial::of(&self.put_file()).patience(PATIENCE).run().await;
        ended.must_be_done();
        ended
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(FileStore::new(self.root.path()))
    }

    /// The whole chain is sound, and the standby can have it.
    async fn is_sound(&self) {
        let (store, chain) = (self.store(), chains(self.store().as_ref()).await.unwrap().remove(0));
        assert_eq!(verify(&store, &chain, Depth::Deep).await.unwrap().broken, vec![]);
        assert_eq!(store.list("uploads/").await.unwrap(), [], "nothing is left of the upload");
        self.get().run().await.must_be_done();
        self.chain.agrees();
    }
}

/// Number of files below a directory.
fn count(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

fn said(ended: &Ended, what: &str) -> bool {
    ended.events.iter().any(|event| matches!(event, Event::Note { text, .. } if text.contains(what)))
}

/// No test by itself: what a child does that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is started by a test"]
async fn a_child_that_puts() {
    let Ok(file) = std::env::var(FILE) else { return };
    Trial::of(&std::fs::read_to_string(file).unwrap()).patience(PATIENCE).run().await.must_be_done();
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a run of its own is what is killed")]
async fn a_put_that_was_killed_half_way_is_sent_from_there_only() {
    let staged = Staged::new();
    let (file, text) = (staged.chain.vms.path("put.toml"), staged.put_file());
    std::fs::write(&file, &text).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", "--nocapture", "staged::a_child_that_puts"])
        .env(FILE, &file)
        .stdin(Stdio::null());
    let (mut child, begun) = (child.spawn().unwrap(), Instant::now());
    while count(&staged.root.path().join("chunks")) < 12 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = count(&staged.root.path().join("chunks")) as u64;
    let snapshots = || staged.chain.snapshots(Vm::Primary, SOURCE).into_iter().map(|one| one.0).collect::<Vec<_>>();
    let taken = snapshots();

    let ended = staged.put().await;
    assert!(said(&ended, "is sent behind the"), "{}", ended.story());
    let RunReport { stream_bytes: sent, wire_bytes: stored, .. } = ended.report;
    let (store, total) = (staged.store(), 48 << 20);
    let link = chains(store.as_ref()).await.unwrap().remove(0).links.remove(0);
    let stream = &link.manifest.streams[0];
    println!("{before} chunks were there; {sent} of {} bytes were sent for the rest, {stored} stored", stream.size);
    let most = stream.size - (before - GOING) * (CHUNK / 2);
    assert!(stream.size >= total && sent < most && stored < most, "{sent} of {}", stream.size);
    assert_eq!(snapshots(), taken, "the same snapshot, and no other");
    staged.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_was_cut_within_an_increment_goes_on_there() {
    let staged = Staged::new();
    staged.put().await;
    let whole = staged.get().wrap(0, Faulty::wrap(Fault::StreamBreaks(24 << 20))).run().await;
    assert_eq!(whole.report.exit_code(), 1, "{}", whole.story());
    let kept = staged.chain.kept().expect("what has come of the whole is kept");
    let again = staged.get().wrap(0, Faulty::wrap(Fault::StreamBreaks(8 << 20))).run().await;
    assert!(said(&again, "goes on where it was cut off"), "{}", again.story());
    let more = staged.chain.kept().expect("and what has come then");
    assert!(more > kept, "{more} bytes are kept, and {kept} were before");
    let ended = staged.get().run().await;
    ended.must_be_done();
    assert!(said(&ended, "goes on where it was cut off"), "{}", ended.story());
    let (total, fetched) = (48 << 20, ended.report.wire_bytes);
    println!("{more} of {total} bytes were there; {fetched} were fetched for the rest");
    assert!(fetched <= total + (1 << 20) - more + CHUNK + TWICE, "{fetched} bytes for {more} of {total}");
    staged.chain.agrees();

    // The same for an increment on top.
    staged.chain.write("third", 16);
    staged.put().await;
    let cut = staged.get().wrap(0, Faulty::wrap(Fault::StreamBreaks(10 << 20))).run().await;
    assert_eq!(cut.report.exit_code(), 1, "{}", cut.story());
    // What has come whole by going on is taken back like anything else when a later stage fails.
    let held = staged.chain.snapshots(Vm::Standby, COPY);
    let failed = staged.get().wrap(1, Faulty::wrap(Fault::ErrorAfter)).run().await;
    assert!(said(&failed, "goes on where it was cut off"), "{}", failed.story());
    assert_eq!(staged.chain.snapshots(Vm::Standby, COPY), held, "{}", failed.story());
    let cut = staged.get().wrap(0, Faulty::wrap(Fault::StreamBreaks(10 << 20))).run().await;
    assert_eq!(cut.report.exit_code(), 1, "{}", cut.story());
    let ended = staged.get().run().await;
    assert!(said(&ended, "goes on where it was cut off"), "{}", ended.story());
    ended.must_be_done();
    staged.chain.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_of_several_snapshots_that_was_cut_is_taken_back_and_brings_all_of_them() {
    let staged = Staged::new();
    let put = staged.put_file().replace("use = \"zfs-send\"\n", "use = \"zfs-send\"\nintermediary = true\n");
    let put = async || Trial::of(&put).patience(PATIENCE).run().await.must_be_done();
    put().await;
    staged.get().run().await.must_be_done();
    staged.chain.write("third", 6);
    staged.chain.vms.root(Vm::Primary, &format!("zfs snapshot {SOURCE}@daily"));
    staged.chain.write("fourth", 12);
    put().await;
    let held = staged.chain.snapshots(Vm::Standby, COPY);
    let cut = staged.get().wrap(0, Faulty::wrap(Fault::StreamBreaks(11 << 20))).run().await;
    assert_eq!(cut.report.exit_code(), 1, "{}", cut.story());
    assert_eq!((staged.chain.snapshots(Vm::Standby, COPY), staged.chain.kept()), (held, None), "{}", cut.story());
    staged.is_sound().await;
    let names = staged.chain.snapshots(Vm::Standby, COPY);
    assert!(names.iter().any(|(name, _)| name.ends_with("@daily")), "{names:?}");
}
