//! One read of a primary feeds a standby and a bucket.

use reseed_core::report::Outcome;
use reseed_lab::{Aim, Major, PairOptions, Recipe, Repository, Storage, Switch};
use reseed_tests::run::{Ended, run, succeed};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;
use reseed_tests::{has_s3_server, judge, ready_for};

/// A scene with a bucket, which ends before the lab.
struct Offsite {
    repository: Repository,
    scene: Scene,
}

/// A command that passes some bytes on and then fails.
const DIES: &str = "[[stage.branch.stage]]\nuse = \"exec\"\nargv = [\"sh\", \"-c\", \"head -c 300000; exit 9\"]\n\n";

impl Offsite {
    fn new() -> Option<Self> {
        let storage = Storage::Btrfs;
        if !ready_for(storage) || !has_s3_server() {
            return None;
        }
        let scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
        Some(Self { repository: Repository::in_bucket(&scene.lab).unwrap(), scene })
    }

    /// The stages of the sample, run on one machine: `dies` is the branch that breaks in mid-stream.
    fn file(&self, policy: &str, dies: &str) -> String {
        let put = self.scene.put_pipeline(&self.repository.table).unwrap();
        let (shared, put) = put.rsplit_once("[[stage]]").unwrap();
        let direct = self.scene.pipeline(&Recipe::default());
        let cluster = direct.split("\n\n").find(|table| table.starts_with("[clusters.standby]")).unwrap();
        let (_, standby) = direct.split_once("[[stage]]\nuse = \"btrfs-receive\"").unwrap();
        let standby = format!("[[stage]]\nuse = \"btrfs-receive\"{standby}");
        let broken = |branch: &str| if branch == dies { DIES } else { "" };
        format!(
            "{}{cluster}\n\n{}[[stage]]\nuse = \"tee\"\npolicy = \"{policy}\"\n\n\
             [[stage.branch]]\nname = \"standby\"\n\n{}{}\n\
             [[stage.branch]]\nname = \"offsite\"\n\n{}[[stage.branch.stage]]{put}",
            shared.split_once("[[stage]]").unwrap().0,
            shared.split_once("[[stage]]").map(|(_, stages)| format!("[[stage]]{stages}")).unwrap(),
            broken("standby"),
            standby.replace("[[stage]]", "[[stage.branch.stage]]").replace("on = \"standby\"\n", ""),
            broken("offsite"),
        )
    }

    /// What the bucket says it can restore.
    async fn can_be_got(&self) {
        let third = self.scene.storage.pool(&self.scene.lab, "c", 3 << 30).unwrap();
        let standby =
            reseed_lab::Server::place(&self.scene.lab, "alone", &self.scene.primary.major, third.path("pgsql/data"));
        let (standby, switch) = (standby.unwrap(), Switch::Clone);
        let aim = Aim { pool: &third, standby: &standby, switch, follows: false };
        succeed(&self.scene.get_pipeline(&self.repository.table, aim)).await;
        assert_eq!(standby.sql("select pg_is_in_recovery()").unwrap(), "t");
        assert!(standby.rows().unwrap() > 0);
    }
}

fn outcomes(ended: &Ended) -> Vec<(&str, Outcome)> {
    let mut all: Vec<_> = ended.report.branches.iter().map(|branch| (branch.branch.as_str(), branch.outcome)).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn one_read_feeds_a_standby_and_a_bucket() {
    let Some(mut offsite) = Offsite::new() else { return };
    let seed = succeed(&offsite.file("all", "")).await;
    assert_eq!(outcomes(&seed), [("offsite", Outcome::Done), ("standby", Outcome::Done)], "{}", seed.story());
    offsite.scene.judge();
    let reset = succeed(&offsite.file("all", "")).await;
    assert_eq!(reset.report.from_guid, seed.report.to_guid, "both hold it, so the increment starts there");
    assert!(reset.report.branches.iter().all(|branch| !branch.full && branch.to_guid == reset.report.to_guid));
    offsite.scene.judge();
    offsite.can_be_got().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_dies_in_mid_stream_leaves_the_standby_alone() {
    for (policy, code) in [("any", 0), ("all", 1)] {
        let Some(mut offsite) = Offsite::new() else { return };
        let ended = run(&offsite.file(policy, "offsite")).await;
        assert_eq!(ended.report.exit_code(), code, "{}", ended.story());
        assert_eq!(outcomes(&ended), [("offsite", Outcome::Undone), ("standby", Outcome::Done)], "{}", ended.story());
        assert!(ended.report.by_hand.is_empty(), "{:?}", ended.report.by_hand);
        offsite.scene.judge();
        // No object is left that a later put or get could take for something.
        let aim =
            Aim { pool: &offsite.scene.b, standby: &offsite.scene.standby, switch: Switch::Clone, follows: false };
        let get = run(&offsite.scene.get_pipeline(&offsite.repository.table, aim)).await;
        assert_eq!(get.report.exit_code(), 3, "{}", get.story());
        assert!(get.report.error.is_some_and(|error| error.contains("there is no manifest")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_dies_in_mid_stream_leaves_the_bucket_alone() {
    let Some(offsite) = Offsite::new() else { return };
    let empty = offsite.scene.b.inventory().unwrap();
    let ended = run(&offsite.file("any", "standby")).await;
    assert_eq!(ended.report.exit_code(), 0, "{}", ended.story());
    assert_eq!(outcomes(&ended), [("offsite", Outcome::Done), ("standby", Outcome::Undone)], "{}", ended.story());
    assert_eq!(offsite.scene.b.inventory().unwrap(), empty, "something of the dead branch is left");
    assert!(State::of(&offsite.scene).slots.is_empty(), "the dead branch's slot is left");
    assert!(!judge::server_log(&offsite.scene.primary).contains("PANIC"));
    offsite.can_be_got().await;
}
