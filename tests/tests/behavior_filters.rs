//! The contract of filters, for every one that there is.

use reseed_core::Encoding;
use reseed_core::codec::{Codec, Zstd};
use reseed_core::config;
use reseed_core::engine::Engine;
use reseed_core::host::{Command, Host, LocalConfig, LocalHost};
use reseed_core::report::RunReport;
use reseed_core::stream::{Chunks, collect};
use reseed_core::testkit::{FilterContract, endless, stage};

const GZIP: Encoding = Encoding::new("gzip");

/// Bytes that compress a little.
fn sample() -> Vec<u8> {
    (0..5000u32).flat_map(|n| (n.wrapping_mul(n) / 3).to_le_bytes()).collect()
}

/// 32 MiB that don't compress.
async fn large() -> Vec<u8> {
    let mut stream = endless();
    let mut all = Vec::new();
    while all.len() < 32 << 20 {
        all.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    all
}

async fn compressed(bytes: Vec<u8>) -> Vec<u8> {
    let stream = Box::new(Chunks::new(vec![bytes.into()]));
    collect(Zstd { level: 3 }.encode(stream), usize::MAX).await.unwrap()
}

async fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let host = LocalHost::new("local", &LocalConfig::default());
    (&host as &dyn Host).output_with(Command::new("gzip").args(["-c", "-1"]), bytes).await.unwrap().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd() {
    FilterContract::new(stage("use = \"zstd\""), &sample()).makes(&compressed(sample()).await).holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unzstd() {
    let contract = FilterContract::new(stage("use = \"unzstd\""), &compressed(sample()).await).makes(&sample());
    let contract = contract.encoded([Zstd::ENCODING]).knows_its_end();
    contract.large(compressed(large().await).await).holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttle() {
    FilterContract::new(stage("use = \"throttle\"\nrate = \"1GB/s\""), &sample()).ahead(1 << 20).holds().await;
    let halves =
        [r#"{ from = "00:00", to = "12:00", rate = "1GB/s" }"#, r#"{ from = "12:00", to = "00:00", rate = "2GB/s" }"#];
    let always = format!("use = \"throttle\"\nschedule = [{}]", halves.join(", "));
    FilterContract::new(stage(&always), &sample()).holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hash() {
    FilterContract::new(stage("use = \"hash\""), &sample()).ahead(1 << 20).holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buffer() {
    let contract = FilterContract::new(stage("use = \"buffer\"\nsize = \"1MiB\""), &sample());
    contract.ahead(2 << 20).holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_that_keeps_the_stream() {
    FilterContract::new(stage("use = \"exec\"\nargv = [\"cat\"]"), &sample()).holds().await;
    // One that reads everything before it writes anything, and says much.
    let script = "cat >/dev/null; yes 'on and on' | head -c 300000 >&2; printf done";
    let slow = stage(&format!("use = \"exec\"\nargv = [\"sh\", \"-c\", \"{script}\"]"));
    let contract = FilterContract::new(slow, &sample()).makes(b"done");
    contract.passes_everything().await;
    contract.fails_when_its_input_fails().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_that_encodes_and_decodes() {
    let encoder = stage("use = \"exec\"\nargv = [\"gzip\", \"-c\"]\nencodes = \"gzip\"");
    FilterContract::new(encoder, &sample()).makes_something().holds().await;
    let decoder = stage("use = \"exec\"\nargv = [\"gzip\", \"-dc\"]\ndecodes = \"gzip\"");
    let contract = FilterContract::new(decoder, &gzipped(&sample()).await).makes(&sample()).encoded([GZIP]);
    contract.large(gzipped(&large().await).await).holds().await;
}

/// The text of a stage that runs a script.
fn exec(keys: &str, script: &str) -> String {
    format!("[[stage]]\nuse = \"exec\"\n{keys}\nargv = [\"sh\", \"-c\", '''{script}''']\n")
}

/// A pipeline on this machine, from a script that sends to one that receives.
async fn run(send: &str, between: &str, receive: &str) -> RunReport {
    let source = exec("role = \"source\"\nformat = \"test\"", send);
    let text = format!("name = \"t\"\n{source}{between}{}", exec("role = \"sink\"", receive));
    run_file(&text).await
}

async fn run_file(text: &str) -> RunReport {
    let loaded = config::load(text, &Default::default()).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    Engine::new(loaded.pipeline).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_commands_tells_what_they_said() {
    let target = tempfile::NamedTempFile::new().unwrap();
    let receive = format!("cat >{}; echo kept $RESEED_DATASET >&2", target.path().display());
    let report = run("printf abc; echo read >&2", &exec("", "tr a-c A-C; echo turned >&2"), &receive).await;
    assert_eq!((report.exit_code(), report.error.as_deref()), (0, None));
    assert_eq!(std::fs::read(target.path()).unwrap(), b"ABC");
    let mut said: Vec<_> = report.said.iter().map(|said| (said.index, said.text.as_str())).collect();
    said.sort_unstable();
    assert_eq!(said, [(0, "read"), (1, "turned"), (2, "kept t")]);
    assert!(report.full && report.to_guid.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_anywhere_fails_the_run_and_no_sink_sees_a_clean_end() {
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path().join("clean");
    let receive = format!("cat >/dev/null; touch {}", clean.display());
    let cases = [
        ("printf abc; exec >&-; echo 'bad disk' >&2; exit 4", "cat", "exited 4: bad disk"),
        ("printf abc", "cat; exec >&-; echo 'bad key' >&2; exit 5", "exited 5: bad key"),
        ("head -c 9000000 /dev/zero", "head -c 10", "stopped reading its input before the end"),
    ];
    for (send, between, wanted) in cases {
        let report = run(send, &exec("", between), &receive).await;
        let error = report.error.clone().unwrap_or_default();
        assert!(error.contains(wanted), "{error}");
        assert_eq!(report.exit_code(), 1);
        assert!(!clean.exists(), "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_left_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    let undo = format!("role = \"sink\"\nundo = [\"sh\", \"-c\", 'rm -f {}.$RESEED_RUN']", left.display());
    for (end, code, files) in [("exit 1", 1, 0), ("true", 0, 1)] {
        let source = exec("role = \"source\"\nformat = \"test\"", "printf abc");
        let sink = exec(&undo, &format!("cat >{}.$RESEED_RUN; {end}", left.display()));
        let report = run_file(&format!("name = \"t\"\n{source}{sink}")).await;
        assert_eq!(report.exit_code(), code, "{report:?}");
        assert_eq!(folder.path().read_dir().unwrap().count(), files, "{report:?}");
    }
}

const HASH: &str = "[[stage]]\nuse = \"hash\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hash_compares() {
    let fine = format!("{HASH}[[stage]]\nuse = \"zstd\"\n[[stage]]\nuse = \"unzstd\"\n{HASH}");
    let report = run("printf abc", &fine, "cat >/dev/null").await;
    assert_eq!((report.exit_code(), report.error.as_deref()), (0, None));
    let hashes: Vec<_> = report.hashes.iter().map(|hash| hash.sha256.as_str()).collect();
    assert_eq!(hashes, ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_changed_between_two_hashes_never_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path().join("clean");
    let changed = format!("{HASH}{}{HASH}", exec("", "tr b d"));
    let report = run("printf abc", &changed, &format!("cat >/dev/null; touch {}", clean.display())).await;
    let error = report.error.clone().unwrap_or_default();
    assert!(error.contains("changed on its way: its SHA-256 was ba7816bf"), "{error}");
    assert!(!clean.exists(), "the receiver saw a clean end of a changed stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_could_not_agree_are_refused() {
    let report = run("printf abc", &format!("{HASH}[[stage]]\nuse = \"zstd\"\n{HASH}"), "cat >/dev/null").await;
    assert_eq!(report.exit_code(), 3, "{report:?}");
    let error = report.error.unwrap();
    assert!(error.contains("the hash of stream(test+zstd) can't be compared with that of stream(test)"), "{error}");
}
