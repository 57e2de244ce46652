//! Filters around `ssh-transfer` over a real sshd: commands and hashes run where the stream is.

mod common;

use std::collections::BTreeMap;

use common::Far;
use reseed_core::config;
use reseed_core::engine::Engine;
use reseed_core::report::RunReport;
use reseed_lab::FarPath;

/// A pipeline between two commands, of which one is on the far machine.
struct Trip<'a> {
    far: &'a Far,
    /// Whether the far machine sends; else it receives.
    pull: bool,
    wire: &'a str,
    send: &'a str,
    before: &'a str,
    behind: &'a str,
}

const HASH: &str = "[[stage]]\nuse = \"hash\"\n";
const ZSTD: &str = "[[stage]]\nuse = \"zstd\"\n";
const UNZSTD: &str = "[[stage]]\nuse = \"unzstd\"\n";
const THROTTLE: &str = "[[stage]]\nuse = \"throttle\"\nrate = \"200MB/s\"\n";
const BUFFER: &str = "[[stage]]\nuse = \"buffer\"\nsize = \"1MiB\"\n";
const SEND: &str = "seq 1 600000";
/// SHA-256 of what `seq` prints.
const SUM: &str = "seq 1 600000 | sha256sum";

fn exec(keys: &str, script: &str) -> String {
    format!("[[stage]]\nuse = \"exec\"\n{keys}\nargv = [\"sh\", \"-c\", '''{script}''']\n")
}

impl Trip<'_> {
    fn text(&self) -> String {
        let on = |far: bool| if far { "on = \"far\"" } else { "" };
        let source = exec(&format!("role = \"source\"\nformat = \"test\"\n{}", on(self.pull)), self.send);
        let sink =
            exec(&format!("role = \"sink\"\n{}", on(!self.pull)), &format!("cat >{0}; : >{0}.clean", self.target()));
        let transfer = format!(
            "[[stage]]\nuse = \"ssh-transfer\"\nwire = \"{}\"\nreseed_path = \"{}\"\n",
            self.wire,
            common::wire_program()
        );
        format!("name = \"t\"\n{}{source}{}{transfer}{}{sink}", self.far.table("far"), self.before, self.behind)
    }

    fn target(&self) -> String {
        self.far.lab.path("target")
    }

    async fn run(&self) -> RunReport {
        for end in ["", ".clean"] {
            let _ = std::fs::remove_file(self.target() + end);
        }
        let text = self.text();
        let loaded = config::load(&text, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        Engine::new(loaded.pipeline).run().await
    }

    async fn succeeds(&self) -> RunReport {
        let report = self.run().await;
        assert_eq!(report.error, None, "{}", self.text());
        let wanted: String = (1..=600_000).map(|n| format!("{n}\n")).collect();
        assert!(std::fs::read(self.target()).unwrap() == wanted.as_bytes(), "{}", self.text());
        report
    }

    async fn fails(&self, because: &str) {
        let report = self.run().await;
        let error = report.error.clone().unwrap_or_default();
        assert!(error.contains(because), "{error}\n{}", self.text());
        assert_eq!(report.exit_code(), 1, "{error}");
        let clean = std::path::Path::new(&(self.target() + ".clean")).exists();
        assert!(!clean, "the receiver saw a clean end\n{error}\n{}", self.text());
    }
}

const WIRES: [&str; 3] = ["framed", "zstd", "plain"];

/// Each direction over each wire.
fn ways() -> impl Iterator<Item = (bool, &'static str)> {
    [true, false].into_iter().flat_map(|pull| WIRES.map(|wire| (pull, wire)))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_hashes_and_passes_do_their_work_where_they_stand() {
    let Some(far) = Far::new() else { return };
    let before = format!("{HASH}{}{THROTTLE}{ZSTD}{THROTTLE}{BUFFER}", exec("", "cat; echo 'before' >&2"));
    let behind = format!("{}{BUFFER}{HASH}", exec("", "cat; echo 'behind' >&2"));
    for (pull, wire) in ways() {
        let trip = Trip { far: &far, pull, wire, send: SEND, before: &before, behind: &behind };
        let report = trip.succeeds().await;
        let hashes: Vec<_> = report.hashes.iter().map(|hash| hash.sha256.clone()).collect();
        assert_eq!(hashes, vec![reseed_lab::Tool::new("sh").args(["-c", SUM]).run().unwrap()[..64].to_owned(); 2]);
        let said: Vec<_> = report.said.iter().map(|said| said.text.as_str()).collect();
        assert!(said.contains(&"before") && said.contains(&"behind"), "{pull} {wire}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_encodes_travels_as_it_is() {
    let Some(far) = Far::new() else { return };
    let gzip = exec("encodes = \"gzip\"", "gzip -c -1");
    let gunzip = exec("decodes = \"gzip\"", "gzip -dc");
    for (pull, wire) in ways() {
        for (before, behind) in
            [(format!("{gzip}{ZSTD}"), gunzip.clone()), (format!("{ZSTD}{gzip}"), format!("{gunzip}{UNZSTD}"))]
        {
            if wire == "zstd" && before.ends_with(&gzip) {
                continue;
            }
            Trip { far: &far, pull, wire, send: SEND, before: &before, behind: &behind }.succeeds().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_the_receiver_never_sees_a_clean_end() {
    let Some(far) = Far::new() else { return };
    let broken = exec("", "cat; exec >&-; echo 'no more' >&2; exit 5");
    let early = exec("", "head -c 100");
    let changed = exec("", "tr 1 2");
    for (pull, wire) in ways() {
        let fails = async |send: &str, before: &str, behind: &str, because: &str| {
            let before = format!("{before}{ZSTD}");
            Trip { far: &far, pull, wire, send, before: &before, behind }.fails(because).await;
        };
        fails("seq 1 600000; exec >&-; echo 'bad disk' >&2; exit 4", &exec("", "cat"), "", "bad disk").await;
        fails(SEND, &broken, "", "no more").await;
        fails(SEND, "", &broken, "no more").await;
        fails(SEND, &early, "", "read").await;
        fails(SEND, "", &early, "read").await;
        if pull {
            fails(SEND, &format!("{HASH}{changed}"), HASH, "changed on its way").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_work_is_refused() {
    let path = FarPath::Without(["zstd", "sha256sum", "shasum", "sha256"].map(String::from).to_vec());
    let Some(far) = Far::with(&path) else { return };
    let refused = async |before: &str, behind: &str| {
        let report = Trip { far: &far, pull: true, wire: "plain", send: SEND, before, behind }.run().await;
        assert_eq!(report.exit_code(), 3, "{report:?}");
        report.error.unwrap()
    };
    let error = refused(HASH, "").await;
    assert!(error.contains("there is no program on far that makes a SHA-256"), "{error}");
    let error = refused(&format!("{ZSTD}{HASH}"), "").await;
    assert!(error.contains("on another machine, `hash` can't stand behind zstd"), "{error}");
    let error = refused(&format!("{ZSTD}{}", exec("encodes = \"x\"", "cat")), &exec("decodes = \"x\"", "cat")).await;
    assert!(error.contains("there is no program `zstd` on far"), "{error}");
    let error = refused(&exec("on = \"local\"", "cat"), "").await;
    assert!(error.contains("the stream is on far here, but `sh` is to run on local"), "{error}");
    let error = refused("[[stage]]\nuse = \"exec\"\nargv = [\"no-such-program\"]\n", "").await;
    assert!(error.contains("there is no program `no-such-program` on far"), "{error}");
}
