//! The stage `ssh-transfer` over a real sshd: every means in every direction, whole and cut.

mod common;
mod ends;

use std::collections::BTreeMap;

use common::{Far, alive, eventually, wire_program};
use reseed_core::config;
use reseed_core::engine::Engine;
use reseed_core::report::{Outcome, RunReport};
use reseed_lab::FarPath;

/// The means, and whether a `zstd` stands in front of the transfer.
const MEANS: [(&str, bool); 5] =
    [("framed", false), ("framed", true), ("zstd", true), ("plain", false), ("plain", true)];

/// Which ends are far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Pull,
    Push,
    Third,
    Local,
}

const WAYS: [Way; 3] = [Way::Pull, Way::Push, Way::Third];

/// One pipeline between two scripts; `$1` of each is its file.
struct Trip<'a> {
    far: &'a Far,
    way: Way,
    wire: &'a str,
    zstd: bool,
    send: &'a str,
    receive: &'a str,
}

/// What a receiver does that takes an end for a clean one.
const TAKE: &str = r#"echo $$ >"$1.its"; mv "$1.its" "$1.pid"; cat >"$1"; echo >"$1.clean""#;

impl Trip<'_> {
    fn source(&self) -> String {
        self.far.lab.path("source")
    }

    fn target(&self) -> String {
        self.far.lab.path("target")
    }

    fn text(&self) -> String {
        let on = |far: bool, name: &str| if far { format!("on = \"{name}\"\n") } else { String::new() };
        let zstd = if self.zstd { "[[stage]]\nuse = \"zstd\"\n" } else { "" };
        format!(
            "name = \"trip\"\n{}{}[[stage]]\nuse = \"test-snapshot\"\n{}[[stage]]\nuse = \"test-send\"\nscript = '''{}'''\n\
             file = \"{}\"\n{zstd}[[stage]]\nuse = \"ssh-transfer\"\nwire = \"{}\"\nreseed_path = \"{}\"\n\
             [[stage]]\nuse = \"test-receive\"\n{}script = '''{}'''\nfile = \"{}\"\n",
            self.far.table("a"),
            self.far.table("b"),
            on(matches!(self.way, Way::Pull | Way::Third), "a"),
            self.send,
            self.source(),
            self.wire,
            wire_program(),
            on(matches!(self.way, Way::Push | Way::Third), "b"),
            self.receive,
            self.target(),
        )
    }

    async fn run(&self) -> RunReport {
        for end in ["", ".clean", ".pid"] {
            let _ = std::fs::remove_file(self.target() + end);
        }
        let text = self.text();
        let loaded = config::load(&text, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        Engine::new(loaded.pipeline).run().await
    }

    /// Waits for the receiver's end and says whether it took the stream for a whole one.
    async fn took_it_for_whole(&self) -> bool {
        if let Ok(pid) = std::fs::read_to_string(self.target() + ".pid") {
            let pid = pid.trim().parse().unwrap();
            eventually("the end of the receiver", || !alive(pid)).await;
        }
        std::path::Path::new(&(self.target() + ".clean")).exists()
    }
}

/// Compressible, but not to nothing.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    };
    (0..length).map(next).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_means_brings_the_same_bytes_every_way() {
    let Some(far) = Far::new() else { return };
    for length in [0, 1, 9_000_001] {
        std::fs::write(far.lab.path("source"), sample(length)).unwrap();
        for way in WAYS {
            for (wire, zstd) in MEANS {
                let trip = Trip { far: &far, way, wire, zstd, send: r#"cat "$1""#, receive: TAKE };
                let report = trip.run().await;
                let what = format!("{length} bytes, {way:?}, {wire}, zstd {zstd}");
                assert_eq!(report.outcome, Outcome::Done, "{what}: {:?}", report.error);
                assert!(std::fs::read(trip.target()).unwrap() == sample(length), "{what}");
                assert_eq!(report.stream_bytes, length as u64, "{what}");
                let small = zstd && wire != "plain" && length > 1000;
                let wires = if way == Way::Third { 2 } else { 1 };
                assert!((report.wire_bytes < wires * report.stream_bytes) == small, "{what}: {}", report.wire_bytes);
            }
        }
    }
}

#[tokio::test]
async fn nothing_crosses_a_wire_where_both_ends_are_here() {
    let Some(far) = Far::new() else { return };
    std::fs::write(far.lab.path("source"), sample(100_000)).unwrap();
    let trip = Trip { far: &far, way: Way::Local, wire: "auto", zstd: true, send: r#"cat "$1""#, receive: TAKE };
    let report = trip.run().await;
    assert_eq!(
        (report.outcome, report.wire_bytes, report.stream_bytes),
        (Outcome::Done, 0, 100_000),
        "{:?}",
        report.error
    );
    assert!(std::fs::read(trip.target()).unwrap() == sample(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_fails_is_the_error_and_no_receiver_takes_its_stream_for_whole() {
    let Some(far) = Far::new() else { return };
    std::fs::write(far.lab.path("source"), sample(700_000)).unwrap();
    for send in [r#"cat "$1"; echo 'disk is on fire' >&2; exit 3"#, r#"cat "$1"; kill -9 $$"#] {
        for way in WAYS {
            for (wire, zstd) in MEANS {
                let trip = Trip { far: &far, way, wire, zstd, send, receive: TAKE };
                let report = trip.run().await;
                let what = format!("{send}, {way:?}, {wire}, zstd {zstd}: {:?}", report.error);
                assert_eq!(report.outcome, Outcome::Undone, "{what}");
                let cause = if send.contains("fire") { "disk is on fire" } else { "cat \"$1\"; kill -9 $$" };
                assert!(report.error.as_ref().unwrap().contains(cause), "{what}");
                assert!(!trip.took_it_for_whole().await, "{what}");
            }
        }
    }
}

/// A stage of a branch, of the text of a stage of a pipeline.
fn in_branch(stage: &str) -> String {
    stage.replace("[[stage]]", "[[stage.branch.stage]]")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parted_here_comes_compressed_and_goes_on_as_each_branch_likes() {
    let Some(far) = Far::new() else { return };
    std::fs::write(far.lab.path("source"), sample(9_000_001)).unwrap();
    let trip = Trip { far: &far, way: Way::Pull, wire: "zstd", zstd: true, send: r#"cat "$1""#, receive: TAKE };
    let (transfer, target) = (trip.text(), trip.target());
    let (shared, receive) = transfer.split_once("[[stage]]\nuse = \"test-receive\"\n").unwrap();
    let receive = |on: &str, to: &str| {
        let receive = receive.replace(&target, &format!("{target}-{to}"));
        format!("[[stage.branch.stage]]\nuse = \"test-receive\"\n{on}{receive}")
    };
    let on = "[[stage]]\nuse = \"ssh-transfer\"\nwire = \"plain\"\n";
    let text = format!(
        "{shared}[[stage]]\nuse = \"tee\"\n[[stage.branch]]\nname = \"here\"\n{}[[stage.branch]]\nname = \"there\"\n{}{}",
        receive("", "here"),
        in_branch(on),
        receive("on = \"b\"\n", "there"),
    );
    let loaded = config::load(&text, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    let report = Engine::new(loaded.pipeline).run().await;
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
    for branch in ["here", "there"] {
        assert!(std::fs::read(format!("{target}-{branch}")).unwrap() == sample(9_000_001), "{branch}");
    }
    assert_eq!(report.stream_bytes, 9_000_001, "it was read once");
    // Compressed on the way here, and plain to the one that asked for nothing.
    let wire = report.wire_bytes;
    assert!((9_000_001..14_000_000).contains(&wire), "{wire} bytes crossed a wire");
}

/// Ends the sshd that serves the connection it is called through.
const CUT: &str = r#"p=$$
while [ "$(cut -d' ' -f2 /proc/$p/stat)" != '(sshd)' ]; do p=$(cut -d' ' -f4 /proc/$p/stat); done
kill -9 $p"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_an_error_and_no_receiver_takes_its_stream_for_whole() {
    let Some(far) = Far::new() else { return };
    std::fs::write(far.lab.path("source"), sample(700_000)).unwrap();
    let sender_cut = format!("cat \"$1\"\n{CUT}\nsleep 1; cat \"$1\"");
    let receiver_cut =
        format!("echo $$ >\"$1.pid\"; head -c 1000 >/dev/null\n{CUT}\ncat >/dev/null; echo >\"$1.clean\"");
    for (wire, zstd) in MEANS {
        let pull = Trip { far: &far, way: Way::Pull, wire, zstd, send: &sender_cut, receive: TAKE };
        let push =
            Trip { far: &far, way: Way::Push, wire, zstd, send: "exec cat /dev/urandom", receive: &receiver_cut };
        for trip in [pull, push] {
            let report = trip.run().await;
            let what = format!("{:?}, {wire}, zstd {zstd}: {:?}", trip.way, report.error);
            assert_eq!(report.outcome, Outcome::Undone, "{what}");
            assert!(report.error.as_ref().unwrap().contains("the connection to"), "{what}");
            assert!(!trip.took_it_for_whole().await, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_the_error() {
    let Some(far) = Far::new() else { return };
    let receive = "head -c 1000 >/dev/null; echo 'no space left' >&2; exit 1";
    for way in WAYS {
        for (wire, zstd) in MEANS {
            let trip = Trip { far: &far, way, wire, zstd, send: "exec cat /dev/urandom", receive };
            let report = trip.run().await;
            let what = format!("{way:?}, {wire}, zstd {zstd}: {:?}", report.error);
            assert_eq!(report.outcome, Outcome::Undone, "{what}");
            assert!(report.error.as_ref().unwrap().contains("no space left"), "{what}");
        }
    }
}

#[tokio::test]
async fn what_the_far_side_lacks_is_refused_or_done_without() {
    let Some(far) = Far::with(&FarPath::Without(vec!["zstd".into(), "reseed".into()])) else { return };
    std::fs::write(far.lab.path("source"), sample(100_000)).unwrap();
    let trip = |wire| Trip { far: &far, way: Way::Pull, wire, zstd: true, send: r#"cat "$1""#, receive: TAKE };
    let report = trip("zstd").run().await;
    assert!(report.refused);
    assert!(report.error.as_ref().unwrap().ends_with("there is no program `zstd` on a"), "{:?}", report.error);
    let text = trip("auto").text().replace(&wire_program(), "/no/such/reseed");
    let loaded = config::load(&text, &BTreeMap::new()).unwrap();
    let report = Engine::new(loaded.pipeline).run().await;
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
    assert!(report.wire_bytes >= report.stream_bytes);
    let text = text.replace("wire = \"auto\"", "wire = \"framed\"");
    let report = Engine::new(config::load(&text, &BTreeMap::new()).unwrap().pipeline).run().await;
    assert!(
        report.refused && report.error.as_ref().unwrap().ends_with("there is no reseed on a"),
        "{:?}",
        report.error
    );
}
