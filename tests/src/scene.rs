//! A pair under load, on which runs are tried.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use reseed_core::report::Outcome;
use reseed_lab::{Load, Major, Pair, PairOptions, Recipe, Storage, Switch};

use crate::judge;
use crate::run::{Ended, Trial};
use crate::state::State;
use crate::watch::Reader;

/// Whether every account's money is at a teller: true of each committed state, and of no mixture.
pub const BALANCED: &str = "select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from \
                            pgbench_tellers) and (select sum(tbalance) from pgbench_tellers) = (select \
                            coalesce(sum(delta), 0) from pgbench_history)";

/// Transactions a second on the primary.
const LOAD: u32 = 150;

/// Rows that don't compress, more than all pipes on the way hold together: about 60 MB.
const BULK: &str = "create table if not exists bulk (a text); \
                    insert into bulk select md5(random()::text) || md5(random()::text) || md5(random()::text) \
                    from generate_series(1, 500000)";

/// A pair whose primary is written to all the while.
#[derive(Debug)]
pub struct Scene {
    load: Option<Load>,
    pair: Pair,
}

impl Scene {
    /// A small pair of this version.
    pub fn of(major: Major) -> Self {
        Self::with(&PairOptions::small(major))
    }

    /// A pair that is made as asked.
    pub fn with(options: &PairOptions) -> Self {
        let pair = Pair::new(options).unwrap();
        judge::prepare(&pair);
        let load = Some(pair.primary.load(LOAD).unwrap());
        Self { load, pair }
    }

    /// A scene whose standby is there and has much to catch up by the next run of the recipe.
    pub async fn with_much_to_send(storage: Storage, switch: Switch) -> (Self, Recipe) {
        let recipe = Recipe { switch, ..Recipe::default() };
        let mut scene = Self::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
        scene.succeed(&recipe).await;
        scene.primary.sql(BULK).unwrap();
        scene.standby.catch_up(&scene.primary, Duration::from_secs(60)).unwrap();
        (scene, recipe)
    }

    /// Fails the test unless a run has failed, and everything is as it was before it.
    #[track_caller]
    pub fn must_be_undone(&self, before: &State, ended: &Ended) {
        let report = &ended.report;
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, 1), "{}", ended.story());
        let wrong = self.is_as_it_was(before);
        assert!(wrong.is_empty(), "{wrong:?}\n{}\n{}", ended.story(), self.logs());
    }

    /// Lets the load write at least some rows.
    pub fn write_on(&mut self) {
        let (begun, before) = (Instant::now(), self.primary.rows().unwrap());
        while self.primary.rows().unwrap() < before + 200 {
            assert!(self.load.as_mut().is_some_and(Load::runs), "the load has ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "the load writes nothing");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a recipe that must succeed; the standby answers until it is stopped, and is good
    /// afterwards.
    pub async fn succeed(&mut self, recipe: &Recipe) -> Ended {
        self.succeed_file(&self.pipeline(recipe)).await
    }

    /// As [`succeed`](Self::succeed), with a pipeline file.
    pub async fn succeed_file(&mut self, text: &str) -> Ended {
        self.write_on();
        let served = self.standby.answers();
        let reader = served.then(|| Reader::of(&self.standby));
        let mut trial = Trial::of(text);
        if let Some(reader) = &reader {
            trial = trial.listen(reader.listener());
        }
        let ended = trial.run().await;
        if let Some(reader) = reader {
            reader.must_have_been_answered();
        }
        assert_eq!(ended.report.outcome, Outcome::Done, "{}\n{}", ended.story(), self.logs());
        ended.must_be_done();
        println!("{}", ended.summary());
        assert_eq!(ended.report.downtime_seconds.is_some(), served, "{}", ended.story());
        self.judge();
        ended
    }

    /// Stops the load, judges the standby, and lets the load go on.
    #[track_caller]
    pub fn judge(&mut self) {
        self.load = None;
        judge::standby(&self.pair);
        let state = State::of(&self.pair);
        assert!(state.sessions.is_empty(), "open sessions: {:?}", state.sessions);
        assert_eq!(state.slots.len(), 1, "a standby needs one slot: {:?}", state.slots);
        self.go_on();
    }

    /// Everything that is not as it was before: what was left behind, what is gone, and a standby that
    /// does not serve or does not stream.
    pub fn is_as_it_was(&self, before: &State) -> Vec<String> {
        let mut wrong = State::of(&self.pair).difference(before);
        if !self.standby.answers() {
            wrong.push("the standby does not answer".to_owned());
        } else if !judge::streams_soon(&self.standby) {
            wrong.push("the standby does not stream".to_owned());
        }
        wrong
    }

    /// Stops the load.
    pub fn calm(&mut self) {
        self.load = None;
    }

    /// Lets the load go on.
    pub fn go_on(&mut self) {
        self.load = Some(self.pair.primary.load(LOAD).unwrap());
    }

    /// What the servers logged.
    pub fn logs(&self) -> String {
        format!("primary:\n{}\nstandby:\n{}", judge::server_log(&self.primary), judge::server_log(&self.standby))
    }
}

impl Deref for Scene {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.pair
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}
