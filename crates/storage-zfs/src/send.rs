//! The stage `zfs-send`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::guard::Grant;
use reseed_core::host::{Host, Job};
use reseed_core::item::{SnapshotPart, SnapshotSet, StreamHeader, StreamItem};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Source, SourceStage, Stage, StageCx};
use reseed_core::{Error, Format, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::check;
use crate::parse::{Features, Snapshot, estimate};
use crate::shared::{FORMAT, Listed, Outgoing, ReceivePlan, SendPlan, SourcePlan, SourceZfs, unborn};
use crate::stream::{Expected, Whole};
use crate::zfs::Zfs;

/// Sends the snapshots: of each dataset an increment from the newest snapshot that the target holds
/// too, found by its GUID whatever it is called, or the whole where there is none. A bookmark will
/// do as a start where the snapshot itself is gone. What both sides' `zfs` can do is used: large,
/// embedded and compressed blocks go as they are.
///
/// On its way the stream is read: every record's checksum must be right, it must be of the snapshot that
/// was taken and start from what was chosen, and it must come to its own end. Streams that this process
/// does not see as they are, because another machine compresses them, are judged by their receiver alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendConfig {
    /// Whether encrypted datasets are sent as they are, so that the target never sees the key
    /// (`zfs send -w`). Off by default: the target then gets the plain content. All increments of a
    /// chain must be sent alike, and a copy can only be mounted with its key loaded there.
    #[serde(default)]
    raw: bool,
}

register_stage!(SendConfig);

pub(crate) const NAME: &str = "zfs-send";

impl StageConfig for SendConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(SourceStage(Sender { raw: self.raw })))
    }
}

#[derive(Debug)]
struct Sender {
    raw: bool,
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
        let mut plan = Vec::with_capacity(parts.len());
        for (part, mine) in parts.iter().zip(&mine) {
            plan.push(outgoing(&zfs, part, mine, &held, cx).await?);
        }
        cx.board().put(SendPlan(plan));
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let zfs = zfs_of(&source.host, cx);
        for part in &source.layout.parts {
            check::may_send(&zfs, &part.dataset, &["send"]).await?;
        }
        if self.raw && !zfs.features().await?.raw {
            let error = Error::refused(format!("`zfs` on {} can't send raw", source.host.name()));
            return Err(error.hint("leave `raw` out of the stage zfs-send"));
        }
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let plan = cx.board().get::<SourcePlan>().filter(|plan| !plan.host.is_local());
        let Some(plan) = plan else { return Ok(vec![]) };
        Ok(plan.layout.parts.iter().map(|part| Grant::on(plan.host.name(), NAME, &part.dataset)).collect())
    }

    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>> {
        let zfs = zfs_of(&set.host, cx);
        let mine = zfs.features().await?;
        let flags = self.flags(&mine, cx).await?;
        let mut streams = Vec::with_capacity(set.parts.len());
        for part in &set.parts {
            let snapshots = listed(&zfs, &part.dataset, cx).await?;
            let base = newest_common(&snapshots, held.of(&part.dataset), Some(&part.guid));
            let estimate = if mine.estimate { ask_estimate(&zfs, &flags, base, part).await } else { None };
            let from_guid = base.map(|base| base.guid.clone());
            let expected = Expected { guid: part.guid.clone(), from_guid: from_guid.clone() };
            let header = StreamHeader {
                part: part.clone(),
                from_guid,
                format: FORMAT,
                encodings: vec![],
                estimate,
                left_out: set.left_out.clone(),
            };
            let job = Job::from(command(&["send"], &flags, base, part)?);
            let mut stream = StreamItem::from_job(header, Arc::clone(&set.host), job);
            stream.pending.pass(Arc::new(Whole(expected)));
            streams.push(stream);
        }
        Ok(streams)
    }
}

impl Sender {
    /// Flags that both sides' `zfs` know. A receiver that can't be asked is taken for an old one.
    async fn flags(&self, mine: &Features, cx: &CheckCx) -> Result<Vec<&'static str>> {
        let theirs = match cx.next_host() {
            Some(host) => receiving(&host, cx).features().await?,
            None => Features::default(),
        };
        let mut flags = mine.send_flags(&theirs);
        if self.raw {
            flags.push("-w");
        }
        Ok(flags)
    }
}

/// `zfs send` of one part.
fn command(
    verb: &[&str],
    flags: &[&'static str],
    base: Option<&Snapshot>,
    part: &SnapshotPart,
) -> Result<reseed_core::host::Command> {
    let snapshot = format!("{}@{}", part.dataset, part.snapshot);
    let mut all: Vec<_> = verb.iter().chain(flags).copied().collect();
    let mut names = vec![];
    if let Some(base) = base {
        all.push("-i");
        names.push(base.name.as_str());
    }
    names.push(&snapshot);
    Ok(Zfs::command(&all, &names)?)
}

/// What `zfs` expects of a stream, in bytes. An estimate that fails is none.
async fn ask_estimate(zfs: &Zfs, flags: &[&'static str], base: Option<&Snapshot>, part: &SnapshotPart) -> Option<u64> {
    let command = command(&["send", "-n", "-P"], flags, base, part).ok()?;
    let output = zfs.host().output(command).await.ok().filter(|output| output.exit.success())?;
    // It goes to standard output or to standard error, depending on the version.
    estimate(&output.text()).or_else(|| estimate(&output.exit.stderr()))
}

/// The newest snapshot, or failing that bookmark, that the target holds too, other than the one
/// that is to be sent.
fn newest_common<'s>(mine: &'s [Snapshot], held: &[String], sent: Option<&str>) -> Option<&'s Snapshot> {
    let common = |one: &&Snapshot| held.contains(&one.guid) && Some(one.guid.as_str()) != sent;
    // Bookmarks are listed behind the snapshots, so the age of the two kinds is told by the target.
    let age = |one: &&Snapshot| (held.iter().position(|guid| *guid == one.guid), !one.is_bookmark());
    mine.iter().filter(common).max_by_key(age)
}

/// The source's `zfs`, as the stage that takes the snapshots has it.
fn zfs_of(host: &Arc<dyn Host>, cx: &CheckCx) -> Zfs {
    let known = cx.board().get::<SourceZfs>().filter(|known| Arc::ptr_eq(known.0.host(), host));
    known.map_or_else(|| Zfs::on(host), |known| known.0.clone())
}

/// The target's `zfs`, as the stage that receives has it.
fn receiving(host: &Arc<dyn Host>, cx: &CheckCx) -> Zfs {
    let known = cx.board().get::<ReceivePlan>().filter(|known| Arc::ptr_eq(known.zfs.host(), host));
    known.map_or_else(|| Zfs::on(host), |known| known.zfs.clone())
}

/// The snapshots of a dataset, as they were listed when the one that is sent was taken.
async fn listed(zfs: &Zfs, dataset: &str, cx: &CheckCx) -> Result<Vec<Snapshot>> {
    let known = cx.board().get::<Listed>();
    match known.and_then(|known| known.0.iter().find(|(name, _)| name == dataset).map(|(_, all)| all.clone())) {
        Some(all) => Ok(all),
        None => Ok(zfs.snapshots(dataset).await?),
    }
}

/// Finds out from where one dataset will be sent, and says so.
async fn outgoing(
    zfs: &Zfs,
    part: &SnapshotPart,
    snapshots: &[Snapshot],
    held: &Holdings,
    cx: &CheckCx,
) -> Result<Outgoing> {
    let base = newest_common(snapshots, held.of(&part.dataset), None);
    let bytes = size_since(zfs, &part.dataset, base).await;
    let about = bytes.map(|bytes| format!(", about {} MiB", bytes.div_ceil(1 << 20))).unwrap_or_default();
    cx.note(match base {
        Some(base) => format!("{}: what changed since @{}{about}", part.dataset, base.short()),
        None => format!("{}: the whole{about}, since {} holds no snapshot of it", part.dataset, held.target),
    });
    Ok(Outgoing { dataset: part.dataset.clone(), base: base.map(|base| base.guid.clone()), bytes })
}

/// Bytes that were written since a snapshot, or that the dataset refers to in all.
async fn size_since(zfs: &Zfs, dataset: &str, base: Option<&Snapshot>) -> Option<u64> {
    let property = match base {
        Some(base) => format!("written@{}", base.short()),
        None => "referenced".to_owned(),
    };
    // `zfs` knows `written@…` since it estimates (illumos 1645 and 1646 came together).
    if base.is_some() && !zfs.features().await.ok()?.estimate {
        return None;
    }
    let mut properties = zfs.properties(dataset, &property).await.ok()?;
    properties.remove(&property)?.value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, guid: &str) -> Snapshot {
        Snapshot { name: format!("ta/a{name}"), guid: guid.into(), target: None, holds: 0 }
    }

    #[test]
    fn the_newest_that_both_hold_is_the_base_whatever_it_is_called() {
        let mine = [snapshot("@1", "a"), snapshot("@x", "b"), snapshot("@new", "d"), snapshot("#2", "b")];
        let held = |guids: &[&str]| guids.iter().map(|guid| (*guid).to_owned()).collect::<Vec<_>>();
        let base = |guids: &[&str]| newest_common(&mine, &held(guids), Some("d")).map(|base| base.name.as_str());
        assert_eq!(base(&["a", "b", "z"]), Some("ta/a@x"));
        assert_eq!(base(&["a", "d"]), Some("ta/a@1"));
        assert_eq!(base(&["z"]), None);
        let bookmark = [snapshot("@1", "a"), snapshot("#2", "b")];
        assert_eq!(newest_common(&bookmark, &held(&["a", "b"]), None).map(|base| base.is_bookmark()), Some(true));
    }

    #[test]
    fn a_job_names_the_base_and_the_snapshot() {
        let part = SnapshotPart {
            dataset: "ta/a".into(),
            mountpoint: "/ta/a".into(),
            snapshot: "new".into(),
            guid: "d".into(),
            main: true,
        };
        let shown = command(&["send"], &["-L", "-c"], Some(&snapshot("@1", "a")), &part).unwrap().to_string();
        assert_eq!(shown, "zfs send -L -c -i ta/a@1 ta/a@new");
        let odd = SnapshotPart { dataset: "ta/$(id)".into(), ..part };
        assert!(command(&["send"], &[], None, &odd).is_err());
    }
}
