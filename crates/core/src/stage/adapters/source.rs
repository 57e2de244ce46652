//! What makes streams of snapshots.

use std::fmt::Debug;

use async_trait::async_trait;

use super::unexpected;
use crate::guard::Grant;
use crate::item::{Body, Item, Payload, SnapshotSet, StreamItem};
use crate::stage::{CheckCx, Holdings, Stage, StageCx};
use crate::{Error, Format, Kind, Mismatch, Result, StreamKind};

/// Turns snapshots into lazy streams.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The stage's name.
    fn name(&self) -> &str;
    /// The storage's format.
    fn format(&self) -> Format;
    /// See [`Stage::scout`].
    async fn scout(&self, _cx: &CheckCx) {}
    /// See [`Stage::survey`].
    ///
    /// # Errors
    /// When it can't find out.
    async fn survey(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
    /// See [`Stage::check`].
    ///
    /// # Errors
    /// A refusal.
    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
    /// See [`Stage::grants`].
    ///
    /// # Errors
    /// A refusal.
    async fn grants(&self, _cx: &CheckCx) -> Result<Vec<Grant>> {
        Ok(vec![])
    }
    /// One stream for each part, in the order in which they must be received, each an increment
    /// from the newest snapshot that both sides hold, or full. Nothing is started yet. Where the pipeline parts,
    /// it is asked for each branch, and so are `survey` and `check`.
    ///
    /// # Errors
    /// When the storage can't be asked.
    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>>;
}

/// A [`Source`] as a stage.
#[derive(Debug)]
pub struct SourceStage<S>(pub S);

#[async_trait]
impl<S: Source> Stage for SourceStage<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn approaches(&self) -> bool {
        true
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let wanted = Kind::Snapshot(self.0.format());
        let gives = Kind::Stream(StreamKind { format: self.0.format(), encodings: vec![] });
        if *input == wanted { Ok(gives) } else { Err(Mismatch::new(format!("a {wanted}"), input, gives)) }
    }

    async fn scout(&self, cx: &CheckCx) {
        self.0.scout(cx).await;
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let branches = cx.in_branches();
        for branch in &branches {
            self.0.survey(branch).await.map_err(|error| of_branch(error, branch))?;
        }
        if branches.is_empty() { self.0.survey(cx).await } else { Ok(()) }
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let branches = cx.in_branches();
        for branch in &branches {
            self.0.check(branch).await.map_err(|error| of_branch(error, branch))?;
        }
        if branches.is_empty() { self.0.check(cx).await } else { Ok(()) }
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.0.grants(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Snapshot(set) = &input.payload else { return Err(unexpected(self.name(), &input)) };
        let branches = cx.in_branches();
        let mut ways: Vec<Vec<StreamItem>> = vec![];
        if branches.is_empty() {
            ways.push(self.streams(set, cx).await?);
        }
        for branch in branches {
            let cx = StageCx(branch);
            let streams = self.streams(set, &cx).await.map_err(|error| of_branch(error, &cx))?;
            add(&mut ways, streams, cx.branch().unwrap_or_default());
        }
        let streams: Vec<_> = ways.into_iter().flatten().collect();
        if streams.iter().all(|stream| stream.header.estimate.is_some()) {
            streams.iter().filter_map(|stream| stream.header.estimate).for_each(|bytes| cx.meters().expect(bytes));
        }
        Ok(input.with(Payload::Streams(streams)))
    }
}

impl<S: Source> SourceStage<S> {
    async fn streams(&self, set: &SnapshotSet, cx: &StageCx) -> Result<Vec<StreamItem>> {
        let held = cx.holdings(&set.parts).await?;
        self.0.streams(set, &held, cx).await
    }
}

/// Adds a branch to the streams that fit it too, or its own where none do.
fn add(ways: &mut Vec<Vec<StreamItem>>, streams: Vec<StreamItem>, branch: &str) {
    let same = |way: &Vec<StreamItem>| way.len() == streams.len() && way.iter().zip(&streams).all(is_same);
    let at = ways.iter().position(same).unwrap_or_else(|| {
        ways.push(streams);
        ways.len() - 1
    });
    ways[at].iter_mut().for_each(|stream| stream.header.branches.push(branch.to_owned()));
}

/// Whether two streams are one: from the same snapshot to the same one, and made in the same way.
fn is_same((one, other): (&StreamItem, &StreamItem)) -> bool {
    let made_alike = match (&one.body, &other.body) {
        (Body::Job { host, job }, Body::Job { host: there, job: another }) => {
            host.name() == there.name() && job == another
        }
        (Body::Here(_), Body::Here(_)) => true,
        _ => false,
    };
    let steps = [&one.header, &other.header].map(|header| (&header.part.dataset, &header.from_guid, &header.part.guid));
    made_alike && steps[0] == steps[1]
}

fn of_branch(error: Error, cx: &CheckCx) -> Error {
    error.context(format!("branch {}", cx.branch().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::{Command, Host, LocalConfig, LocalHost};
    use crate::item::{SnapshotPart, StreamHeader};

    #[test]
    fn branches_share_what_is_made_alike_and_nothing_else() {
        let host: Arc<dyn Host> = Arc::new(LocalHost::new("local", &LocalConfig::default()));
        let part = SnapshotPart {
            dataset: "data".into(),
            mountpoint: "/data".into(),
            snapshot: "now".into(),
            guid: "2".into(),
            main: true,
        };
        let header = StreamHeader { from_guid: Some("1".into()), ..StreamHeader::new(part, Format::new("test")) };
        let sent = |flag: &str| {
            vec![StreamItem::from_job(header.clone(), Arc::clone(&host), Command::new("send").arg(flag).into())]
        };
        let mut ways = vec![];
        for (branch, flag) in [("one", "-L"), ("two", "-e"), ("three", "-L")] {
            add(&mut ways, sent(flag), branch);
        }
        let whose: Vec<_> = ways.iter().map(|way| way[0].header.branches.clone()).collect();
        assert_eq!(whose, [vec!["one", "three"], vec!["two"]]);
    }
}
