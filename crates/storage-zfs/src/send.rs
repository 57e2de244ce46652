//! The stage `zfs-send`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::host::Job;
use reseed_core::item::{SnapshotPart, SnapshotSet, StreamHeader, StreamItem};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Source, SourceStage, Stage, StageCx};
use reseed_core::{Error, Format, Result, register_stage};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::check;
use crate::parse::{Features, Snapshot, estimate};
use crate::shared::{FORMAT, Outgoing, SendPlan, SourcePlan, unborn};
use crate::zfs::Zfs;

/// Sends the snapshots: of each dataset an increment from the newest snapshot that the target holds
/// too, found by its GUID whatever it is called, or the whole where there is none. A bookmark will
/// do as a start where the snapshot itself is gone. What both sides' `zfs` can do is used: large,
/// embedded and compressed blocks go as they are.
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

impl StageConfig for SendConfig {
    const NAME: &'static str = "zfs-send";

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
        let zfs = Zfs::on(&source.host);
        let parts = unborn(&source.layout);
        let held = cx.holdings(&parts).await?;
        let mut plan = Vec::with_capacity(parts.len());
        for part in &parts {
            plan.push(outgoing(&zfs, part, &held, cx).await?);
        }
        let plan = SendPlan(plan);
        cx.board().put(plan.outlook());
        cx.board().put(plan);
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let Some(source) = cx.board().get::<SourcePlan>() else { return Ok(()) };
        let zfs = Zfs::on(&source.host);
        for part in &source.layout.parts {
            check::may_send(&zfs, &part.dataset, &["send"]).await?;
        }
        if self.raw && !zfs.features().await?.raw {
            let error = Error::refused(format!("`zfs` on {} can't send raw", source.host.name()));
            return Err(error.hint("leave `raw` out of the stage zfs-send"));
        }
        Ok(())
    }

    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>> {
        let zfs = Zfs::on(&set.host);
        let mine = zfs.features().await?;
        let flags = self.flags(&mine, cx).await?;
        let mut streams = Vec::with_capacity(set.parts.len());
        for part in &set.parts {
            let snapshots = zfs.snapshots(&part.dataset).await?;
            let base = newest_common(&snapshots, held.of(&part.dataset), Some(&part.guid));
            let estimate = if mine.estimate { ask_estimate(&zfs, &flags, base, part).await } else { None };
            let header = StreamHeader {
                part: part.clone(),
                from_guid: base.map(|base| base.guid.clone()),
                format: FORMAT,
                encodings: vec![],
                estimate,
                left_out: set.left_out.clone(),
            };
            let job = Job::from(command(&["send"], &flags, base, part)?);
            streams.push(StreamItem::from_job(header, Arc::clone(&set.host), job));
        }
        Ok(streams)
    }
}

impl Sender {
    /// Flags that both sides' `zfs` know. A receiver that can't be asked is taken for an old one.
    async fn flags(&self, mine: &Features, cx: &CheckCx) -> Result<Vec<&'static str>> {
        let theirs = match cx.next_host() {
            Some(host) => Zfs::on(&host).features().await?,
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

/// Finds out from where one dataset will be sent, and says so.
async fn outgoing(zfs: &Zfs, part: &SnapshotPart, held: &Holdings, cx: &CheckCx) -> Result<Outgoing> {
    let snapshots = zfs.snapshots(&part.dataset).await?;
    let base = newest_common(&snapshots, held.of(&part.dataset), None);
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
    // An old `zfs` does not know `written@…`.
    let mut properties = zfs.properties(dataset, &property).await.ok()?;
    properties.remove(&property)?.value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, guid: &str) -> Snapshot {
        Snapshot { name: format!("ta/a{name}"), guid: guid.into(), target: None, held: false }
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
