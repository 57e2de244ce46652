//! The stage `zfs-send`.

mod base;
mod between;
mod flags;
pub(crate) mod known;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located};
use reseed_core::guard::Grant;
use reseed_core::host::{Command, Job};
use reseed_core::item::{Pass, Resume, SnapshotPart, SnapshotSet, StreamHeader, StreamItem};
use reseed_core::reader::Place;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Source, SourceStage, Stage, StageCx};
use reseed_core::{Format, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use self::base::{newest_common, outgoing};
use self::between::between;
use self::flags::{Encrypted, Means};
use self::known::{listed, zfs_of};
use crate::parse::{Snapshot, estimate};
use crate::partial::{Partial, Partials, Resuming};
use crate::shared::{FORMAT, SendPlan, SourcePlan, unborn};
use crate::stream::{Expected, Joined, Spot, Whole};
use crate::zfs::Zfs;
use crate::{check, guard};

/// Sends the snapshots: of each dataset an increment from the newest snapshot that the target holds
/// too, found by its GUID whatever it is called, or the whole where there is none. A bookmark will
/// do as a start where the snapshot itself is gone. What both sides' `zfs` can do is used: large,
/// embedded and compressed blocks go as they are; a copy that was begun in one way is gone on with in
/// the same. Where an earlier transfer was interrupted, it is gone on with where it stopped, and an
/// increment follows.
///
/// On its way the stream is read: every record's checksum must be right, it must be of the snapshot that
/// was taken and start from what was chosen, and it must come to its own end. Streams that this process
/// does not see as they are, because another machine compresses them, are judged by their receiver alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendConfig {
    /// How encrypted datasets are sent; must be said where there is one. `raw`: as they are, so that
    /// the target never sees the key (`zfs send -w`), and a copy can only be mounted with its key
    /// loaded there. `clear`: the target gets the plain content. All increments of a copy must be
    /// sent alike.
    encrypted: Option<Located<Encrypted>>,
    /// Whether an increment also brings the snapshots between its base and the new one, all in one stream
    /// (`zfs send -I`), so that the copy has the history that the source has. Those that reseed did not take are
    /// never pruned on the target. Off by default; a whole brings the new snapshot alone, and so does an increment
    /// from a bookmark, as `zfs` needs a snapshot for it, so it goes with `anchor = "snapshot"` alone. A key
    /// that is bound to `reseed guard` needs a line of its own for it.
    #[serde(default)]
    intermediary: bool,
}

register_stage!(SendConfig);

pub(crate) const NAME: &str = "zfs-send";

impl StageConfig for SendConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(SourceStage(Sender { encrypted: self.encrypted, intermediary: self.intermediary })))
    }
}

#[derive(Debug)]
struct Sender {
    encrypted: Option<Located<Encrypted>>,
    intermediary: bool,
}

#[async_trait]
impl Source for Sender {
    fn name(&self) -> &str {
        SendConfig::NAME
    }

    fn format(&self) -> Format {
        FORMAT
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let zfs = zfs_of(&source.host, cx);
        let parts = unborn(&source.layout);
        let datasets: Vec<_> = parts.iter().map(|part| part.dataset.as_str()).collect();
        let mine = async { Ok(zfs.snapshots_of(&datasets).await?) };
        let (held, mine) = tokio::try_join!(cx.holdings(&parts), mine)?;
        let (mut plan, mut resuming) = (Vec::with_capacity(parts.len()), vec![]);
        for (part, mine) in parts.iter().zip(&mine) {
            plan.push(outgoing(&zfs, part, mine, &held, self.intermediary, cx, &mut resuming).await?);
        }
        let plan = SendPlan(plan);
        cx.board().put(Surveyed(held));
        cx.board().put(plan.outlook());
        cx.board().put(plan);
        cx.board().put(Resuming(resuming));
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let zfs = zfs_of(&source.host, cx);
        if self.intermediary {
            let raw = self.encrypted.as_ref().is_some_and(|way| **way == Encrypted::Raw);
            between::check(&zfs, &source.layout, raw, cx).await?;
        }
        let means = Means::of(&zfs, &self.encrypted, cx).await?;
        let (plan, held) = (cx.board().get::<SendPlan>(), cx.board().get::<Surveyed>());
        for part in &source.layout.parts {
            // Of several snapshots `zfs` holds each while it is sent.
            let rights: &[_] = if self.intermediary { &["send", "hold"] } else { &["send"] };
            check::may_send(&zfs, &part.dataset, rights).await?;
            let outgoing = plan.as_ref().and_then(|plan| plan.of(&part.dataset));
            let held = held.as_ref().map(|held| &held.0);
            let chain = outgoing.filter(|outgoing| outgoing.base.is_some()).and(held);
            means.judge(&zfs, &part.dataset).await?;
            means.way(&zfs, &part.dataset, chain, cx).await?;
        }
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let plan = cx.board().get::<SourcePlan>().filter(|plan| !plan.host.is_local());
        let Some(plan) = plan else { return Ok(vec![]) };
        let rule = if self.intermediary { guard::INTERMEDIARY } else { NAME };
        Ok(plan.layout.parts.iter().map(|part| Grant::on(plan.host.name(), rule, &part.dataset)).collect())
    }

    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>> {
        let zfs = zfs_of(&set.host, cx);
        let means = Means::of(&zfs, &self.encrypted, cx).await?;
        let resumes = zfs.features().await?.send_resumes;
        let sender = self;
        let mut all = All { sender, zfs: &zfs, set, means: &means, held, resumes, streams: vec![], resuming: vec![] };
        for part in &set.parts {
            all.streams_of(part, cx).await?;
        }
        cx.board().put(Resuming(all.resuming));
        Ok(all.streams)
    }
}

/// What the target held when it was surveyed.
#[derive(Debug, Clone)]
struct Surveyed(Holdings);

/// The streams of a set, as they are made.
struct All<'a> {
    sender: &'a Sender,
    zfs: &'a Zfs,
    set: &'a SnapshotSet,
    means: &'a Means,
    held: &'a Holdings,
    /// Whether `zfs send` can begin in the middle of a stream.
    resumes: bool,
    streams: Vec<StreamItem>,
    resuming: Vec<Partial>,
}

impl All<'_> {
    /// The stream of one dataset, behind the rest of an interrupted one where that can be gone on with.
    async fn streams_of(&mut self, part: &SnapshotPart, cx: &StageCx) -> Result<()> {
        let held = self.held.of(&part.dataset);
        let snapshots = listed(self.zfs, &part.dataset, cx).await?;
        let partial = Partials::of(cx, &part.dataset);
        let resumed = partial.and_then(|partial| Some((partial.resumable(&snapshots, held)?, partial)));
        let mut held = held.to_vec();
        if let Some((snapshot, partial)) = resumed {
            self.rest(part, snapshot, &partial).await?;
            held.push(partial.token.to_guid.clone());
            self.resuming.push(partial);
        }
        let base = newest_common(&snapshots, &held, Some(&part.guid));
        let chain = base.map(|_| self.held);
        let way = self.means.way(self.zfs, &part.dataset, chain, cx).await?;
        let between = match base.filter(|_| self.sender.intermediary) {
            Some(base) => between(&snapshots, base, Some(&part.guid)),
            None => vec![],
        };
        let from = base.map(|base| (if between.is_empty() { "-i" } else { "-I" }, base));
        let estimate = ask_estimate(self.zfs, command(&["send", "-n", "-P"], &way.flags, from, part)?).await;
        let job = Job::from(command(&["send"], &way.flags, from, part)?);
        let header = StreamHeader {
            from_guid: base.map(|base| base.guid.clone()),
            between: between.into_iter().map(|one| one.guid.clone()).collect(),
            made: Some(way.made().to_string()),
            estimate,
            ..StreamHeader::new(part.clone(), FORMAT)
        };
        self.push(header, job);
        Ok(())
    }

    /// What is missing of an interrupted stream. Its flags are in the token.
    async fn rest(&mut self, part: &SnapshotPart, snapshot: &Snapshot, partial: &Partial) -> Result<()> {
        let token = &partial.token;
        let estimate = ask_estimate(self.zfs, Zfs::command(&["send", "-n", "-P", "-t", &token.text], &[])?).await;
        let job = Job::from(Zfs::command(&["send", "-t", &token.text], &[])?);
        let was = SnapshotPart { snapshot: snapshot.short().to_owned(), guid: token.to_guid.clone(), ..part.clone() };
        let from_guid = token.from_guid.clone();
        self.push(StreamHeader { from_guid, goes_on: true, estimate, ..StreamHeader::new(was, FORMAT) }, job);
        Ok(())
    }

    /// One more stream, which is read as it passes.
    fn push(&mut self, header: StreamHeader, job: Job) {
        let (guid, from_guid, between) = (header.part.guid.clone(), header.from_guid.clone(), header.between.clone());
        let expected = Expected { guid, from_guid, between, rest: header.goes_on };
        let resumes = self.resumes && !header.goes_on && header.between.is_empty();
        let header = StreamHeader { left_out: self.set.left_out.clone(), ..header };
        let mut stream = StreamItem::from_job(header, Arc::clone(&self.set.host), job);
        stream.pending.pass(Arc::new(Whole(expected.clone())));
        if resumes {
            stream = stream.resumed_by(Arc::new(FromPlace { zfs: self.zfs.clone(), expected }));
        }
        self.streams.push(stream);
    }
}

/// A stream from a place in its middle on, by a token that is made for that.
struct FromPlace {
    zfs: Zfs,
    expected: Expected,
}

#[async_trait]
impl Resume for FromPlace {
    async fn behind(&self, place: &Place) -> Result<Option<(Job, Arc<dyn Pass>)>> {
        // A place that is told wrongly, or one of another stream, is none to go on at.
        let spot = Spot::read(place).ok().filter(|spot| spot.is_in(&self.expected));
        let Some((spot, token)) = spot.and_then(|spot| Some((spot.clone(), spot.token()?.to_string()))) else {
            return Ok(None);
        };
        // Asked for its size first, `zfs` says whether it takes the token and has the snapshot.
        if ask_estimate(&self.zfs, Zfs::command(&["send", "-n", "-P", "-t", &token], &[])?).await.is_none() {
            return Ok(None);
        }
        let job = Job::from(Zfs::command(&["send", "-t", &token], &[])?);
        Ok(Some((job, Arc::new(Joined(spot)))))
    }
}

/// What `zfs` expects of a stream, in bytes. An estimate that fails is none.
async fn ask_estimate(zfs: &Zfs, command: Command) -> Option<u64> {
    if !zfs.features().await.ok()?.estimate {
        return None;
    }
    let output = zfs.host().output(command).await.ok().filter(|output| output.exit.success())?;
    // It goes to standard output or to standard error, depending on the version.
    estimate(&output.text()).or_else(|| estimate(&output.exit.stderr()))
}

/// `zfs send` of one part, from a base in one of two ways: `-i`, or with what is between, `-I`.
fn command(
    verb: &[&str],
    flags: &[&'static str],
    from: Option<(&'static str, &Snapshot)>,
    part: &SnapshotPart,
) -> Result<Command> {
    let snapshot = format!("{}@{}", part.dataset, part.snapshot);
    let mut all: Vec<_> = verb.iter().chain(flags).copied().collect();
    let mut names = vec![];
    if let Some((way, base)) = from {
        all.push(way);
        names.push(base.name.as_str());
    }
    names.push(&snapshot);
    Ok(Zfs::command(&all, &names)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_names_the_base_and_the_snapshot() {
        let part = SnapshotPart {
            dataset: "ta/a".into(),
            mountpoint: "/ta/a".into(),
            snapshot: "new".into(),
            guid: "d".into(),
            main: true,
        };
        let base = Snapshot { name: "ta/a@1".into(), guid: "a".into(), target: None, holds: 0 };
        for way in ["-i", "-I"] {
            let shown = command(&["send"], &["-L", "-c"], Some((way, &base)), &part).unwrap().to_string();
            assert_eq!(shown, format!("zfs send -L -c {way} ta/a@1 ta/a@new"));
        }
        let odd = SnapshotPart { dataset: "ta/$(id)".into(), ..part };
        assert!(command(&["send"], &[], None, &odd).is_err());
    }
}
