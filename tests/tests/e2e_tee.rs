//! One read of a primary on one pool feeds standbys on two others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reseed_core::event::Event;
use reseed_core::report::Outcome;
use reseed_lab::{Load, Major, Pair, PairOptions, Pool, Server};
use reseed_tests::run::{Ended, Trial};
use reseed_tests::state::State;
use reseed_tests::watch::LockWatch;
use reseed_tests::{judge, ready};

/// A pair under load and the place of a second standby, on a third pool.
struct Three {
    load: Option<Load>,
    second: Server,
    c: Pool,
    pair: Pair,
}

impl Three {
    fn new() -> Option<Self> {
        let major = ready().then(|| Major::newest().unwrap())?;
        let options = PairOptions::small(major);
        let pair = Pair::new(&options).unwrap();
        let c = options.storage.pool(&pair.lab, "c", options.pool_bytes).unwrap();
        let second = Server::place(&pair.lab, "second", &options.major, c.path("pgsql/data")).unwrap();
        judge::prepare(&pair);
        let load = Some(pair.primary.load(150).unwrap());
        Some(Self { load, second, c, pair })
    }

    /// The file, run on the primary: `tee` has these keys, and the branch `two` this stage first.
    fn file(&self, tee: &str, first_of_two: &str) -> String {
        let pair = &self.pair;
        let cluster = |name: &str, server: &Server| {
            let programs = server.programs.display();
            format!("[clusters.{name}]\ndata_directory = \"{}\"\nbin_directory = \"{programs}\"\n\n", server.data)
        };
        let mut text = format!("name = \"tee\"\n\n[clusters.primary]\nconninfo = \"{}\"\n\n", pair.primary.conninfo());
        text += &cluster("one", &pair.standby);
        text += &cluster("two", &self.second);
        for stage in ["pg-quiesce\"\ncluster = \"primary", "zfs-snapshot", "pg-release", "zfs-send"] {
            text += &format!("[[stage]]\nuse = \"{stage}\"\n\n");
        }
        text += &format!("[[stage]]\nuse = \"tee\"\n{tee}\n\n");
        text += &branch("one", &pair.standby, &pair.b, "");
        text += &branch("two", &self.second, &self.c, first_of_two);
        text
    }

    async fn run(&mut self, tee: &str, first_of_two: &str) -> Ended {
        self.load.get_or_insert_with(|| self.pair.primary.load(150).unwrap());
        Trial::of(&self.file(tee, first_of_two)).run().await
    }

    /// Judges a standby; nothing writes meanwhile.
    fn judge(&mut self, second: bool) {
        self.load = None;
        if second {
            std::mem::swap(&mut self.pair.standby, &mut self.second);
        }
        judge::standby(&self.pair);
        if second {
            std::mem::swap(&mut self.pair.standby, &mut self.second);
        }
    }
}

fn branch(name: &str, server: &Server, pool: &Pool, first: &str) -> String {
    let (into, live) = (pool.dataset("reseed"), pool.dataset("pgsql"));
    let settings = format!("{{ port = {}, unix_socket_directories = \"{}\" }}", server.port, server.sockets);
    let stages = [
        format!("zfs-receive\"\ninto = \"{into}"),
        format!("zfs-clone\"\nas = \"{live}"),
        format!("pg-configure\"\nsettings = {settings}\ncluster = \"{name}"),
        format!("pg-switch\"\nkeep_old = \"0s\"\ncluster = \"{name}"),
    ];
    let mut text = format!("[[stage.branch]]\nname = \"{name}\"\n\n{first}\n");
    stages.iter().for_each(|stage| text += &format!("[[stage.branch.stage]]\nuse = \"{stage}\"\n\n"));
    text
}

fn outcomes(ended: &Ended) -> Vec<(String, Outcome)> {
    let mut all: Vec<_> = ended.report.branches.iter().map(|branch| (branch.branch.clone(), branch.outcome)).collect();
    all.sort();
    all
}

fn both(one: Outcome, two: Outcome) -> Vec<(String, Outcome)> {
    vec![("one".to_owned(), one), ("two".to_owned(), two)]
}

/// A command that passes some bytes on and then fails.
const DIES: &str = "[[stage.branch.stage]]\nuse = \"exec\"\nargv = [\"sh\", \"-c\", \"head -c 300000; exit 9\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_read_seeds_two_standbys_and_then_resets_both() {
    let Some(mut three) = Three::new() else { return };
    let seed = three.run("", "").await;
    seed.must_be_done();
    assert_eq!(outcomes(&seed), both(Outcome::Done, Outcome::Done), "{}", seed.story());
    assert!(seed.report.full);
    three.judge(false);
    three.judge(true);
    let slots = State::of(&three.pair).slots;
    assert_eq!(slots.len(), 2, "each standby has a slot of its own: {slots:?}");
    let watch = LockWatch::of(&three.pair.primary);
    three.load.get_or_insert_with(|| three.pair.primary.load(150).unwrap());
    let trial = Trial::of(&three.file("", "")).listen(watch.listener());
    let stages = trial.stages();
    let reset = trial.run().await;
    reset.must_be_done();
    watch.must_have_seen(2, "pg-quiesce", &stages);
    watch.must_see_none();
    assert_eq!(reset.report.from_guid, seed.report.to_guid, "both hold it, so the increment starts there");
    assert!(reset.report.branches.iter().all(|branch| !branch.full && branch.downtime_seconds.is_some()));
    assert!(reset.report.stream_bytes < seed.report.stream_bytes, "what two receive was sent once");
    three.judge(false);
    three.judge(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_dies_in_mid_stream_is_taken_back_and_the_other_streams() {
    for (policy, code) in [("any", 0), ("all", 1)] {
        let Some(mut three) = Three::new() else { return };
        let empty = three.c.inventory().unwrap();
        let ended = three.run(&format!("policy = \"{policy}\""), DIES).await;
        assert_eq!(ended.report.exit_code(), code, "{}", ended.story());
        assert_eq!(outcomes(&ended), both(Outcome::Done, Outcome::Undone), "{}", ended.story());
        assert!(ended.report.by_hand.is_empty(), "{:?}", ended.report.by_hand);
        three.judge(false);
        assert_eq!(three.c.inventory().unwrap(), empty, "something of the dead branch is left");
        assert_eq!(State::of(&three.pair).slots.len(), 1, "the dead branch's slot is left");
        // The two hold nothing in common now: each is sent what it lacks.
        let next = three.run("", "").await;
        next.must_be_done();
        assert_eq!(outcomes(&next), both(Outcome::Done, Outcome::Done), "{}", next.story());
        assert_eq!(full(&next), [("one".to_owned(), false), ("two".to_owned(), true)], "{}", next.story());
        three.judge(false);
        three.judge(true);
    }
}

/// Which branches got the whole.
fn full(ended: &Ended) -> Vec<(String, bool)> {
    let mut all: Vec<_> = ended.report.branches.iter().map(|branch| (branch.branch.clone(), branch.full)).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_fell_behind_is_brought_up_with_the_other_by_increments() {
    let Some(mut three) = Three::new() else { return };
    let seed = three.run("", "").await;
    seed.must_be_done();
    let ahead = three.run("policy = \"any\"", DIES).await;
    assert_eq!(outcomes(&ahead), both(Outcome::Done, Outcome::Undone), "{}", ahead.story());
    let next = three.run("", "").await;
    next.must_be_done();
    let from = |name: &str| next.report.branches.iter().find(|branch| branch.branch == name).unwrap().from_guid.clone();
    assert_eq!((from("one"), from("two")), (ahead.report.to_guid, seed.report.to_guid), "{}", next.story());
    three.judge(false);
    three.judge(true);
    // From here on both hold the same again.
    let after = three.run("", "").await;
    after.must_be_done();
    assert!(after.report.branches.iter().all(|branch| branch.from_guid == next.report.to_guid), "{}", after.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_lags_is_dropped_and_the_other_streams() {
    let Some(mut three) = Three::new() else { return };
    let crawl = "[[stage.branch.stage]]\nuse = \"throttle\"\nrate = \"64KiB/s\"\n";
    let tee = "policy = \"any\"\nslow = \"drop\"\nbuffer = \"1MiB\"\npatience = \"1s\"";
    let ended = three.run(tee, crawl).await;
    assert_eq!(outcomes(&ended), both(Outcome::Done, Outcome::Undone), "{}", ended.story());
    let two = ended.report.branches.iter().find(|branch| branch.branch == "two").unwrap();
    assert!(two.error.as_ref().unwrap().contains("fell behind"), "{two:?}");
    three.judge(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_takes_both_back() {
    let Some(mut three) = Three::new() else { return };
    three.run("", "").await.must_be_done();
    let before = (State::of(&three.pair), three.c.inventory().unwrap());
    let trial = Trial::of(&three.file("", ""));
    let (cancel, told) = (trial.cancel_token(), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&told);
    let trial = trial.listen(Arc::new(move |event| {
        if matches!(event, Event::StageStarted { stage, .. } if stage.ends_with(": zfs-receive")) {
            seen.store(true, Ordering::SeqCst);
            cancel.cancel();
        }
    }));
    let ended = trial.run().await;
    assert!(told.load(Ordering::SeqCst));
    assert_eq!(ended.report.exit_code(), 130, "{}", ended.story());
    assert_eq!(State::of(&three.pair).difference(&before.0), [""; 0]);
    assert_eq!(three.c.inventory().unwrap(), before.1);
    three.judge(false);
    three.judge(true);
}
