//! The stage `btrfs-send`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::guard::Grant;
use reseed_core::host::{Command, Job, open};
use reseed_core::item::{SnapshotPart, SnapshotSet, StreamHeader, StreamItem};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Holdings, Source, SourceStage, Stage, StageCx};
use reseed_core::{Error, Format, Result, register_stage};
use reseed_storage::{Outgoing, SendPlan, SourcePlan, unborn};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::btrfs::Btrfs;
use crate::check;
use crate::shared::FORMAT;
use crate::snapshot::Homes;
use crate::stream::{Expected, Whole, size};
use crate::table::{Seen, Table};

/// The version of the stream's format that `btrfs send` writes unless it is told otherwise.
const VERSION: u32 = 1;

/// Sends the snapshots: of each subvolume an increment from the newest snapshot of it that the target
/// holds too, found by UUID and received UUID whatever it is called, or the whole where there is none.
/// On its way the stream is read: every command's CRC32C must be right, it must be of the snapshot
/// that was taken and start from what was chosen, and it must come to its own end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SendConfig {}

register_stage!(SendConfig);

pub(crate) const NAME: &str = "btrfs-send";

impl StageConfig for SendConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(Arc::new(SourceStage(Sender::default())))
    }
}

#[derive(Debug, Default)]
struct Sender {
    /// How long streams will be, by base and snapshot: branches ask for the same ones.
    sizes: Mutex<Vec<(Option<String>, String, u64)>>,
}

impl Sender {
    /// About how many bytes will come, as `btrfs` tells that reads all metadata for it and no data. Where that
    /// fails, nothing is known.
    async fn size(&self, set: &SnapshotSet, base: Option<&str>, snapshot: &str) -> Option<u64> {
        let sizes = || self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sizes().iter().find(|(from, of, _)| from.as_deref() == base && of == snapshot).map(|one| one.2);
        if known.is_some() {
            return known;
        }
        let told = open(set.host.as_ref(), &command(&["--no-data"], base, snapshot).into()).await.ok()?;
        let bytes = size(told).await.ok()?;
        sizes().push((base.map(str::to_owned), snapshot.to_owned(), bytes));
        Some(bytes)
    }
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
        let parts = unborn(&source.layout);
        let table = table(&Btrfs::on(&source.host), &parts).await?;
        let held = cx.holdings(&parts).await?;
        let outgoing = parts.iter().map(|part| outgoing(&table, part, &held, cx));
        let plan = SendPlan(outgoing.collect());
        cx.board().put(plan.outlook());
        cx.board().put(plan);
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let (Some(source), Some(plan)) = (cx.board().get::<SourcePlan>(), cx.board().get::<SendPlan>()) else {
            return Ok(());
        };
        let btrfs = Btrfs::on(&source.host);
        let table = table(&btrfs, &unborn(&source.layout)).await?;
        for outgoing in &plan.0 {
            if let Some(base) = &outgoing.base {
                check::pristine(&btrfs, &table, known(&table, &outgoing.dataset, base)?).await?;
            }
        }
        Ok(())
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let host = cx.board().get::<SourcePlan>().map(|plan| Arc::clone(&plan.host)).filter(|host| !host.is_local());
        let (Some(host), Some(homes)) = (host, cx.board().get::<Homes>()) else { return Ok(vec![]) };
        Ok(homes.0.iter().map(|(_, home)| Grant::on(host.name(), NAME, home)).collect())
    }

    async fn streams(&self, set: &SnapshotSet, held: &Holdings, cx: &StageCx) -> Result<Vec<StreamItem>> {
        let btrfs = Btrfs::on(&set.host);
        let table = table(&btrfs, &set.parts).await?;
        let planned = cx.board().get::<SendPlan>();
        let mut streams = Vec::with_capacity(set.parts.len());
        for part in &set.parts {
            // What is sent must be on disk.
            btrfs.sync(&part.dataset).await?;
            let base = newest_common(&table, part, held.of(&part.dataset));
            let surveyed = planned.as_ref().and_then(|plan| plan.of(&part.dataset)).and_then(|one| one.base.as_deref());
            if let Some(base) = base.filter(|base| surveyed != Some(base.subvolume.identity())) {
                check::pristine(&btrfs, &table, base).await?;
            }
            let snapshot = known(&table, &part.dataset, &part.guid)?;
            let estimate = self.size(set, base.map(|base| base.path.as_str()), &snapshot.path).await;
            streams.push(stream(part, base, snapshot, set, estimate));
        }
        Ok(streams)
    }
}

/// All subvolumes of the file systems that these are on.
async fn table(btrfs: &Btrfs, parts: &[SnapshotPart]) -> Result<Table> {
    btrfs.table(&parts.iter().map(|part| part.dataset.as_str()).collect::<Vec<_>>()).await
}

/// One stream, and who looks at it on its way.
fn stream(
    part: &SnapshotPart,
    base: Option<&Seen>,
    snapshot: &Seen,
    set: &SnapshotSet,
    estimate: Option<u64>,
) -> StreamItem {
    let from_guid = base.map(|base| base.subvolume.identity().to_owned());
    let (name, uuid) = (part.snapshot.clone(), part.guid.clone());
    let expected = Expected { version: VERSION, name, uuid, base: from_guid.clone() };
    let header =
        StreamHeader { from_guid, estimate, left_out: set.left_out.clone(), ..StreamHeader::new(part.clone(), FORMAT) };
    let job = Job::from(command(&[], base.map(|base| base.path.as_str()), &snapshot.path));
    let mut stream = StreamItem::from_job(header, Arc::clone(&set.host), job);
    stream.pending.pass(Arc::new(Whole(expected)));
    stream
}

/// `btrfs send` of one snapshot.
fn command(options: &[&str], base: Option<&str>, snapshot: &str) -> Command {
    let parent = base.into_iter().flat_map(|base| ["-p", base]);
    Command::new("btrfs").arg("send").args(options.iter().copied()).args(parent).arg(snapshot).as_root()
}

/// The subvolume of this identity on the file system of another one.
fn known<'t>(table: &'t Table, beside: &str, identity: &str) -> Result<&'t Seen> {
    let all = table.filesystem_of(beside).map(|filesystem| table.of(filesystem)).unwrap_or_default();
    let found = all.into_iter().find(|seen| seen.subvolume.identity() == identity);
    found.ok_or_else(|| Error::failed(format!("the snapshot {identity} of {beside} is gone, or is not seen anywhere")))
}

/// The newest snapshot of the same subvolume that the target holds too, other than the one that is to
/// be sent. What the subvolume itself was made of counts: a promoted standby has that in common with
/// its old primary.
fn newest_common<'t>(table: &'t Table, part: &SnapshotPart, held: &[String]) -> Option<&'t Seen> {
    let live = &table.at(&part.dataset)?.subvolume;
    let akin = |seen: &&Seen| {
        let other = &seen.subvolume;
        other.parent.as_ref() == Some(&live.uuid) || live.parent.as_ref() == Some(&other.uuid)
    };
    let common = |seen: &&Seen| {
        let other = &seen.subvolume;
        other.readonly && other.uuid != part.guid && held.iter().any(|guid| guid == other.identity())
    };
    let all = table.of(table.filesystem_of(&part.dataset)?);
    all.into_iter().filter(|seen| akin(seen) && common(seen)).max_by_key(|seen| seen.subvolume.id)
}

/// Finds out from where one subvolume will be sent, and says so.
fn outgoing(table: &Table, part: &SnapshotPart, held: &Holdings, cx: &CheckCx) -> Outgoing {
    let base = newest_common(table, part, held.of(&part.dataset));
    cx.note(match base {
        Some(base) => format!("{}: what changed since {}", part.dataset, base.path),
        None => format!("{}: the whole, since {} holds no snapshot of it", part.dataset, held.target),
    });
    Outgoing { dataset: part.dataset.clone(), base: base.map(|base| base.subvolume.identity().to_owned()), bytes: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Filesystem, Subvolume, mounted};

    fn table(subvolumes: Vec<Subvolume>) -> Table {
        let mut table = Table::new(mounted("48 27 0:44 / /a rw - btrfs /dev/vdb rw\n"));
        table.add("/dev/vdb", Filesystem { uuid: "fs".into(), subvolumes });
        table
    }

    fn subvolume(id: u64, path: &str, parent: &str, readonly: bool) -> Subvolume {
        let parent = (!parent.is_empty()).then(|| parent.to_owned());
        Subvolume { id, uuid: format!("u{id}"), parent, received: None, path: path.into(), readonly }
    }

    fn part(guid: &str) -> SnapshotPart {
        SnapshotPart {
            dataset: "/a/pg".into(),
            mountpoint: "/a/pg".into(),
            snapshot: "new".into(),
            guid: guid.into(),
            main: true,
        }
    }

    #[test]
    fn the_newest_snapshot_of_the_same_subvolume_that_both_hold_is_the_base() {
        let mut all = vec![
            subvolume(256, "/pg", "u250", false),
            subvolume(257, "/s/1", "u256", true),
            subvolume(258, "/s/2", "u256", true),
            subvolume(259, "/s/other", "u999", true),
            subvolume(260, "/s/writable", "u256", false),
            subvolume(261, "/s/new", "u256", true),
        ];
        let base = |all: &[Subvolume], held: &[&str]| {
            let held: Vec<_> = held.iter().map(|guid| (*guid).to_owned()).collect();
            newest_common(&table(all.to_vec()), &part("u261"), &held).map(|seen| seen.path.clone())
        };
        assert_eq!(base(&all, &["u257", "u258", "u259", "u260", "u261"]).as_deref(), Some("/a/s/2"));
        assert_eq!(base(&all, &["u257"]).as_deref(), Some("/a/s/1"));
        assert_eq!(base(&all, &["u259", "u260", "u261"]), None);
        // What it was made of, by the identity under which it was received.
        let received = Some("far".to_owned());
        all.insert(0, Subvolume { received, ..subvolume(250, "/received", "", true) });
        assert_eq!(base(&all, &["far"]).as_deref(), Some("/a/received"));
        assert_eq!(base(&all, &["u250"]), None);
    }

    #[test]
    fn a_job_names_the_base_and_the_snapshot() {
        assert_eq!(command(&[], Some("/a/1"), "/a/2").to_string(), "btrfs send -p /a/1 /a/2");
        assert_eq!(command(&["--no-data"], None, "/a/2").to_string(), "btrfs send --no-data /a/2");
    }
}
