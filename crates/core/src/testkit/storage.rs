//! What every storage promises: of what sends and what receives, as a pair.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::harm::{Between, Harm};
use super::journal::Memory;
use super::{Probe, standstill};
use crate::config::Resources;
use crate::engine::{Choice, Engine, Options, Pipeline};
use crate::host::Command;
use crate::item::Wrap;
use crate::report::{Outcome, RunReport};
use crate::stage::Stage;
use crate::undo::Record;

/// A storage on real parts, as its author sets it up: something to send and somewhere to receive it.
#[async_trait]
pub trait StorageFixture: Sync {
    /// Stages from the beginning of a pipeline to a stream. See [`quiesced`](super::quiesced).
    fn sending(&self) -> Vec<Arc<dyn Stage>>;

    /// Stages from the stream to an end of a pipeline.
    fn receiving(&self) -> Vec<Arc<dyn Stage>>;

    /// Changes what is sent, by more bytes than [`StorageContract::ahead`].
    async fn change(&self);

    /// Everything on both sides that a run could leave, one line each, in any order.
    async fn inventory(&self) -> Vec<String>;

    /// Whether the newest copy is what was sent last.
    async fn is_copied(&self) -> bool;

    /// What the undos of its runs name: hosts and other resources.
    fn resources(&self) -> Resources {
        Resources::local()
    }
}

/// A storage and what it says that it can.
#[derive(Clone, Copy)]
pub struct StorageContract<'f> {
    fixture: &'f dyn StorageFixture,
    increments: bool,
    sees_the_end: bool,
    can_be_stalled: bool,
    is_found: bool,
    cuts: u64,
    padding: u64,
    ahead: u64,
}

/// How a run ended, and what is known of it.
struct Tried {
    report: RunReport,
    /// What was armed, the last first.
    armed: Vec<Record>,
}

impl<'f> StorageContract<'f> {
    /// A storage that can do everything.
    pub fn new(fixture: &'f dyn StorageFixture) -> Self {
        Self {
            fixture,
            increments: true,
            sees_the_end: true,
            can_be_stalled: true,
            is_found: true,
            cuts: 5,
            padding: 0,
            ahead: 2 << 20,
        }
    }

    /// Every stream of it is whole.
    pub fn without_increments(mut self) -> Self {
        self.increments = false;
        self
    }

    /// What receives takes any clean end for the end.
    pub fn without_an_end(mut self) -> Self {
        self.sees_the_end = false;
        self
    }

    /// No job receives that another could stand in for.
    pub fn without_a_receiving_job(mut self) -> Self {
        self.can_be_stalled = false;
        self
    }

    /// Its stages don't look for what runs have left.
    pub fn without_leftovers(mut self) -> Self {
        self.is_found = false;
        self
    }

    /// At how many places a stream is cut; by default at 5.
    pub fn cuts(mut self, cuts: u64) -> Self {
        self.cuts = cuts.max(3);
        self
    }

    /// So many bytes at the end of a stream carry nothing: one that lacks only them is whole.
    pub fn padded(mut self, bytes: u64) -> Self {
        self.padding = bytes;
        self
    }

    /// So many bytes may be pulled that the receiver has not taken, for pipes and queues on the way. Without
    /// this, 2 MiB.
    pub fn ahead(mut self, bytes: u64) -> Self {
        self.ahead = bytes;
        self
    }

    /// All of the contract, once for a target that holds nothing and once for one that holds a copy.
    ///
    /// # Panics
    /// With what is not held.
    pub async fn holds(&self) {
        self.fixture.change().await;
        self.takes_back_what_goes_wrong().await;
        self.arrives(true).await;
        self.fixture.change().await;
        self.takes_back_what_goes_wrong().await;
        self.arrives(!self.increments).await;
    }

    /// Every run that does not come to its end leaves things as they were, however it goes wrong.
    pub async fn takes_back_what_goes_wrong(&self) {
        let length = self.length().await;
        for at in self.places(length) {
            self.is_undone(at, Harm::Breaks, 1).await;
            if self.sees_the_end {
                self.is_undone(at, Harm::Ends, 1).await;
            }
        }
        self.is_undone(length / 2, Harm::Panics, 1).await;
        self.is_cancelled(length / 2).await;
        if self.can_be_stalled {
            self.stops_when_nobody_receives(length).await;
        }
        if self.is_found {
            self.is_found_without_a_journal(length / 2).await;
        }
    }

    /// A run that comes to its end brings what was sent: whole, or what has changed.
    pub async fn arrives(&self, full: bool) {
        let Tried { report, .. } = self.run(&self.engine(&Probe::default(), None, None)).await;
        assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
        assert_eq!(report.full, full, "whole, or what has changed: {report:?}");
        assert!(self.fixture.is_copied().await, "what arrived is not what was sent");
    }

    /// How long the stream is. The producer fails when it has given all of it: that is no clean end.
    async fn length(&self) -> u64 {
        let probe = Probe::default();
        self.is_undone_by(&probe, u64::MAX, Harm::Breaks, 1).await;
        let length = probe.pulled();
        assert!(length > self.cuts + self.padding, "there is nothing to cut in {length} bytes");
        length
    }

    /// Places in a stream, its ends among them; the last byte is never there.
    fn places(&self, length: u64) -> Vec<u64> {
        let inner = (1..self.cuts - 1).map(|n| n * length / (self.cuts - 1) + n);
        std::iter::once(0).chain(inner).chain([length - self.padding - 1]).collect()
    }

    async fn is_undone(&self, at: u64, harm: Harm, code: u8) {
        self.is_undone_by(&Probe::default(), at, harm, code).await;
    }

    async fn is_undone_by(&self, probe: &Probe, at: u64, harm: Harm, code: u8) {
        let what = format!("a stream that {harm:?} after {at} bytes");
        let engine = self.engine(probe, Some((at, harm)), None);
        self.must_be_undone(&what, &engine, code).await;
    }

    /// A run that is cancelled in mid-stream.
    async fn is_cancelled(&self, at: u64) {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let hangs = Harm::Hangs(Box::new(move || token.cancel()));
        let engine = self.engine(&Probe::default(), Some((at, hangs)), None);
        let its = engine.0.cancel_token();
        let relay = tokio::spawn(async move {
            cancel.cancelled().await;
            its.cancel();
        });
        self.must_be_undone("a cancel", &engine, 130).await;
        relay.abort();
    }

    /// A receiver that stands still stops what sends.
    async fn stops_when_nobody_receives(&self, length: u64) {
        assert!(length > self.ahead, "a stream of {length} bytes can't show that no more than {} are", self.ahead);
        let probe = Probe::default();
        let stalled: Wrap = Arc::new(|_| Command::script("exec sleep 60").titled("stalled").into());
        let engine = self.engine(&probe, None, Some(stalled));
        let cancel = engine.0.cancel_token();
        let stalls = async {
            let stands = standstill(async || probe.pulled()).await;
            cancel.cancel();
            stands
        };
        let ((), stands) = tokio::join!(self.must_be_undone("a receiver that stands still", &engine, 130), stalls);
        let pulled = stands.expect("what sends goes on and on");
        assert!(pulled <= self.ahead, "{pulled} bytes were pulled that nobody took, more than {}", self.ahead);
    }

    /// What a run leaves that died is found by its id, by stages that know nothing of it, and taken back.
    async fn is_found_without_a_journal(&self, at: u64) {
        let before = self.inventory().await;
        let engine = self.engine(&Probe::default(), Some((at, Harm::Breaks)), None);
        engine.0.stop_undo_token().cancel();
        let Tried { report, .. } = self.run(&engine).await;
        assert_eq!(report.outcome, Outcome::Stuck, "{:?}", report.error);
        assert_ne!(self.inventory().await, before, "a run that is not taken back leaves nothing to see");
        for round in ["found", "looked for again"] {
            let (engine, _) = self.engine(&Probe::default(), None, None);
            let scan = engine.scan().await.unwrap_or_else(|error| panic!("{}", error.chain()));
            let of_it = scan.found.iter().filter(|one| one.run == report.run);
            let found: Vec<_> = of_it.map(|one| one.name.clone()).collect();
            assert_eq!(found.is_empty(), round != "found", "{round}: {found:?}");
            let choose = |run: &str| if run == report.run { Choice::Goes } else { Choice::Stays };
            let cleared = engine.clear(|_, one| choose(&one.run)).await;
            let (_, outcome) = cleared.unwrap_or_else(|error| panic!("{}", error.chain()));
            assert_eq!(outcome, Outcome::Undone, "{found:?}");
            self.must_be_rid_of(&report.run, &before, &format!("what a dead run left was {round}: {found:?}")).await;
        }
    }

    /// The run ends like this, everything is as it was, and taking it back once more changes nothing.
    async fn must_be_undone(&self, what: &str, engine: &(Engine, Memory), code: u8) {
        let before = self.inventory().await;
        let Tried { report, armed } = self.run(engine).await;
        let told = report.error.clone().unwrap_or_default();
        assert_eq!((report.outcome, report.exit_code()), (Outcome::Undone, code), "{what}: {told}");
        self.must_be(&before, what).await;
        let resources = self.fixture.resources();
        for record in armed {
            let undo = record.revive(&resources).unwrap_or_else(|error| panic!("{record:?}: {}", error.chain()));
            undo.undo().await.unwrap_or_else(|error| panic!("{what}, a second time: {}", error.chain()));
        }
        self.must_be(&before, &format!("{what}, taken back a second time")).await;
    }

    async fn must_be(&self, before: &BTreeSet<String>, what: &str) {
        let now = self.inventory().await;
        let differs: Vec<_> = before.symmetric_difference(&now).collect();
        assert!(differs.is_empty(), "{what}: not as it was: {differs:?}");
    }

    /// Nothing that bears the run's id is there, and everything else is. What it was in may stay: a directory
    /// that bears nobody's name is the next run's too.
    async fn must_be_rid_of(&self, run: &str, before: &BTreeSet<String>, what: &str) {
        let now = self.inventory().await;
        let left: Vec<_> = now.iter().filter(|line| line.contains(run)).collect();
        let gone: Vec<_> = before.difference(&now).collect();
        assert!(left.is_empty() && gone.is_empty(), "{what}: still there {left:?}, gone {gone:?}");
    }

    async fn inventory(&self) -> BTreeSet<String> {
        self.fixture.inventory().await.into_iter().collect()
    }

    fn engine(&self, probe: &Probe, harm: Option<(u64, Harm)>, receiver: Option<Wrap>) -> (Engine, Memory) {
        let mut stages = self.fixture.sending();
        stages.push(Arc::new(Between::new(probe, harm, receiver)));
        stages.extend(self.fixture.receiving());
        let options = Options { grace: Duration::from_millis(100), ..Options::default() };
        let memory = Memory::default();
        let engine = Engine::new(Pipeline::new("testkit", stages)).options(options);
        (engine.journals(Arc::new(memory.clone())), memory)
    }

    async fn run(&self, (engine, memory): &(Engine, Memory)) -> Tried {
        let report = engine.run().await;
        Tried { report, armed: memory.armed() }
    }
}
