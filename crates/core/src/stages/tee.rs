//! The stage `tee`: one read feeds several branches.

mod code;
mod config;
mod fan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::engine::Forked;
use crate::host::Host;
use crate::item::{Item, Payload, SnapshotPart};
use crate::stage::{Branch, CheckCx, Claim, Holding, Holdings, Stage, StageCx, unexpected};
use crate::stages::here;
use crate::{Error, Kind, Mismatch, Result};

pub use self::code::Tee as TeeInCode;
use self::config::Policy;

const NAME: &str = "tee";

/// How far branches may be apart, and what becomes of one that is too far behind.
#[derive(Debug, Clone, Copy)]
struct Slack {
    /// Bytes that a branch may be behind the fastest one.
    buffer: u32,
    /// How long the others wait for one that is that far behind; for ever where it is `None`.
    patience: Option<Duration>,
}

#[derive(Debug)]
struct Tee {
    branches: Vec<Branch>,
    policy: Policy,
    slack: Slack,
}

#[async_trait]
impl Stage for Tee {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        if !matches!(input, Kind::Stream(_)) {
            return Err(Mismatch::new("a stream", input, Kind::Standby));
        }
        let mut ends = Vec::new();
        for branch in &self.branches {
            ends.push(end_of(branch, input)?);
        }
        Ok(ends.into_iter().next().unwrap_or(Kind::Standby))
    }

    fn claims(&self) -> Vec<Claim> {
        self.branches.iter().flat_map(|branch| &branch.stages).flat_map(|stage| stage.claims()).collect()
    }

    /// The machine on which every branch begins, if it is one. Otherwise the streams part in this process, and so
    /// they do where a branch carries them on by itself.
    fn host(&self) -> Option<Arc<dyn Host>> {
        let begins = |branch: &Branch| {
            let first = branch.stages.iter().find(|stage| stage.carries() || stage.host().is_some())?;
            first.host().filter(|_| !first.carries())
        };
        let mut hosts = self.branches.iter().map(begins);
        let one = hosts.next().flatten();
        one.filter(|one| hosts.all(|host| host.is_some_and(|host| host.name() == one.name()))).or_else(|| Some(here()))
    }

    fn branches(&self) -> &[Branch] {
        &self.branches
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let then = match self.policy {
            Policy::All => "the run is done when all are",
            Policy::Any => "the run is done when one is",
        };
        let names: Vec<_> = self.branches.iter().map(|branch| branch.name.as_str()).collect();
        cx.note(format!("one read feeds {}; {then}", names.join(", ")));
        Ok(())
    }

    /// What every branch holds, for a source that gives all of them the same streams.
    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        let mut common: Option<Holdings> = None;
        for branch in Forked::of(cx, &self.branches) {
            let held = branch.cx().holdings(wanted).await?;
            common = Some(match common {
                None => held,
                Some(common) => both(&common, &held),
            });
        }
        Ok(common)
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(NAME, &input)) };
        let branches = Forked::of(cx, &self.branches);
        let readers: Vec<_> = branches.iter().map(|branch| (branch.name(), branch.cancel_token())).collect();
        let (source, ends) = fan::out(streams, &readers, self.slack, cx.meters());
        let mut running = JoinSet::new();
        for (branch, streams) in branches.into_iter().zip(ends) {
            let item = Item { payload: Payload::Streams(streams), facts: input.facts.clone() };
            let outer = Arc::clone(&cx.run);
            running.spawn(branch.run(outer, item));
        }
        let ended = async {
            let mut ended = Vec::new();
            while let Some(joined) = running.join_next().await {
                ended.push(joined.unwrap_or_else(|gone| Err(Error::failed("a branch broke down").because(gone))));
            }
            ended
        };
        let (ended, read) = tokio::join!(ended, source);
        self.judge(ended, read)
    }
}

impl Tee {
    /// What the run comes to by what its branches came to. Where reading the source failed, that is the
    /// cause, and what the branches say of it are consequences.
    fn judge(&self, ended: Vec<Result<Item>>, read: Result<()>) -> Result<Item> {
        let (done, failed): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
        let mut errors: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
        let enough = match self.policy {
            Policy::All => errors.is_empty(),
            Policy::Any => !done.is_empty(),
        };
        if let (true, Some(Ok(item))) = (enough, done.into_iter().next()) {
            return Ok(item);
        }
        read.map_err(|error| error.context("reading for all branches"))?;
        match errors.len() {
            0 => Err(Error::failed("there was no branch")),
            1 => Err(errors.remove(0)),
            _ => Err(Error::failed(errors.iter().map(Error::chain).collect::<Vec<_>>().join("; and "))),
        }
    }
}

/// What a branch gives in the end.
fn end_of(branch: &Branch, input: &Kind) -> Result<Kind, Box<Mismatch>> {
    let mut kind = input.clone();
    for stage in &branch.stages {
        if !stage.branches().is_empty() {
            let text = format!("the branch {} parts again", branch.name);
            return Err(Mismatch::inside(text, input, Kind::Standby).hint("add a branch to the outer one instead"));
        }
        kind = stage.flow(&kind).map_err(|mismatch| {
            let Mismatch { takes, given, .. } = &*mismatch;
            let text = format!("in the branch {}, {} takes {takes}, but is given {given}", branch.name, stage.name());
            let told = Mismatch::inside(text, input, Kind::Standby);
            mismatch.hint.clone().into_iter().fold(told, |told, hint| told.hint(hint))
        })?;
    }
    if kind.is_end() {
        return Ok(kind);
    }
    let text = format!("the branch {} ends with {kind}, which is of no use to anyone", branch.name);
    Err(Mismatch::inside(text, input, Kind::Standby)
        .hint("end each branch with a stage that gives a standby, a dataset or staged streams"))
}

fn both(one: &Holdings, other: &Holdings) -> Holdings {
    let common = |holding: &Holding| {
        let guids = holding.guids.iter().filter(|guid| other.of(&holding.dataset).contains(guid)).cloned();
        Holding::of(&holding.dataset, guids.collect())
    };
    Holdings::at(format!("{}+{}", one.target, other.target), one.datasets.iter().map(common).collect())
}
