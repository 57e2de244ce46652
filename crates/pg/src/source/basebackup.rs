//! The stage `pg-basebackup`, and what a stage that receives its stream needs of PostgreSQL.
//!
//! The stream is what `pg_basebackup -D - -Ft -X fetch` writes: one tar archive with the data
//! directory, the WAL that it needs to become consistent, and from PostgreSQL 13 on the manifest as
//! its last file. So it passes every filter and can be unpacked by any `tar`. `pg_basebackup` and not
//! a client of our own speaks the protocol: TLS, authentication and every version are PostgreSQL's
//! own business there. The price is that a cluster with tablespaces can't be taken: `pg_basebackup`
//! writes one archive for each, and only one fits into a stream.

mod command;
mod identify;
mod incremental;
mod manifest;
mod received;
mod summaries;
mod survey;
mod tools;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Ref, Size};
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, SnapshotPart, StreamHeader};
use reseed_core::leftover::Leftovers;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Format, Kind, Mismatch, Result, StreamKind};
use schemars::JsonSchema;
use serde::Deserialize;

pub use incremental::{Base, Kept};
pub use manifest::Manifest;
pub use received::Receiver;
pub use survey::Announced;

use super::guard::{self, Allowance};
use super::held::{EndSession, Place, application};
use super::requirements::Demand;
use super::{requirements, slot};
use crate::cluster::Cluster;
use crate::facts::{Backup, Mode};
use crate::session::Session;
use incremental::{Choice, Wish};
use survey::Taking;

/// The format of base backups: a tar archive of a data directory.
pub const FORMAT: Format = Format::new("pg-basebackup");
/// What the data directory is called in the layout and in the places: where it is on the source's
/// machine does not matter, and that machine need not be reachable.
pub const DATA: &str = "the base backup";

/// Takes a base backup of a server by PostgreSQL's own `pg_basebackup`: for any file system, without
/// root and without SSH, over a replication connection. It runs on the standby's machine, by the
/// programs and as the user of the standby's server, and streams; `dir-receive` receives it. The
/// whole cluster is sent, or, from PostgreSQL 17 on, what changed since the last backup, where the
/// receiver keeps that one and the server runs with `summarize_wal = on`.
///
/// While checking it refuses a role that may not replicate or is not let in for replication,
/// programs that are missing or of another version, and a cluster with tablespaces, which
/// `pg_basebackup` can't put into one stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BasebackupConfig {
    /// The cluster that is copied, usually the primary. Only its `conninfo` matters; its machine is
    /// not touched.
    cluster: Ref,
    /// The cluster that the copy is for: its machine runs `pg_basebackup`.
    standby: Ref,
    /// `auto` takes what changed since the last backup where that is possible, else the whole, and
    /// says why; `always` refuses where only the whole is possible, except for the first backup;
    /// `never` takes the whole.
    #[serde(default)]
    incremental: Wish,
    /// Whether a replication slot retains the WAL that the new standby needs until it streams. Without
    /// it the source must keep enough by itself (`wal_keep_size`).
    #[serde(default = "yes")]
    slot: bool,
    /// How much WAL the source must at least be able to write before it would give up what the slot holds
    /// back (`safe_wal_size`, 13 and later): where it is less, the run stops cleanly. Without it: a tenth
    /// of the source's `max_slot_wal_keep_size`, where that is set, at most 1 GiB.
    min_safe_wal: Option<Size>,
    /// How much WAL the slot may hold back on the source before the run stops cleanly, so that its disk
    /// does not fill up. Without it there is no limit but the source's own.
    max_held_wal: Option<Size>,
    /// Whether the checkpoint is done at once; otherwise it is spread, which takes minutes.
    #[serde(default = "yes")]
    fast: bool,
}

fn yes() -> bool {
    true
}

register_stage!(BasebackupConfig);

const NAME: &str = "pg-basebackup";

impl StageConfig for BasebackupConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster);
        let standby = cx.resource::<Cluster>("clusters", &self.standby);
        let allowance = Allowance { min_safe: self.min_safe_wal, max_held: self.max_held_wal };
        let Self { incremental, slot, fast, .. } = self;
        Some(Arc::new(Basebackup { cluster: cluster?, standby: standby?, incremental, slot, fast, allowance }))
    }
}

#[derive(Debug)]
struct Basebackup {
    cluster: Arc<Cluster>,
    standby: Arc<Cluster>,
    incremental: Wish,
    slot: bool,
    fast: bool,
    allowance: Allowance,
}

#[async_trait]
impl Stage for Basebackup {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let gives = Kind::Stream(StreamKind { format: FORMAT, encodings: vec![] });
        match input {
            Kind::Start => Ok(gives),
            other => Err(Mismatch::new("the start of a pipeline", other, gives)
                .hint("a base backup begins and ends by itself: no pg-quiesce and no pg-release belong to it")),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.cluster.host.name().to_owned();
        vec![Claim { what: "backup of the cluster", host, name: self.cluster.name.clone() }]
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.standby.host))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        survey::survey(self, cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let taking = taking(cx)?;
        // The old standby streams on during the backup, which takes a WAL sender of its own.
        let demand = Demand { standbys: 1, slots: usize::from(self.slot), freed: 0 };
        let mut refusals = requirements::refusals(&taking.server, demand);
        refusals.extend((!cx.branches().is_empty()).then(several));
        refusals.extend(requirements::no_full_pages(&taking.server).map(|obstacle| obstacle.refusal()));
        refusals.extend(tablespaces(&taking));
        match &taking.choice {
            Choice::Refused(why) => refusals.push(why.refusal()),
            choice => cx.note(choice.to_string()),
        }
        if self.slot {
            refusals.extend(self.allowance.check(taking.server.wal_kept, cx).err());
        }
        if taking.server.role.replication {
            refusals.extend(identify::identify(&taking, cx).await.err());
        }
        requirements::merged(refusals)
    }

    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        crate::leftovers::on_source(&self.cluster).await
    }

    async fn run(&self, mut input: Item, cx: &StageCx) -> Result<Item> {
        let taking = taking(cx)?;
        super::lock::hold(&self.cluster, cx).await?;
        let slot = self.slot.then(|| slot::name(cx.run_id()));
        let (cluster, application) = (self.cluster.clone(), application(cx.run_id()));
        // Armed before the sessions' end, and so undone after it: a session that is cut off may still be
        // making the slot.
        if let Some(slot) = &slot {
            cx.arm(slot::DropSlot { cluster: cluster.clone(), slot: slot.clone() })?;
        }
        cx.arm(EndSession { place: Place::default(), cluster, application })?;
        if let Some(slot) = &slot {
            self.reserve(&taking, slot, cx).await?;
            guard::watch(&self.cluster, &[(None, slot.clone())], self.allowance, taking.server.major(), cx);
        }
        input.facts.put(&taking.source)?;
        input.facts.put(&Backup {
            mode: Mode::Backup,
            wal_included: true,
            slot,
            label: None,
            tablespace_map: None,
            proof_lsn: None,
        })?;
        let header = header(&taking, cx);
        if let Some(bytes) = header.estimate {
            cx.meters().expect(bytes);
        }
        let stream = command::stream(&taking, self.fast, header, cx)?;
        Ok(input.with(Payload::Streams(vec![stream])))
    }
}

fn taking(cx: &CheckCx) -> Result<Arc<Taking>> {
    cx.board().get::<Taking>().ok_or_else(|| Error::failed("the source was not surveyed"))
}

/// What the stream carries. Its identity is known only when the manifest has come, at its end.
fn header(taking: &Taking, cx: &StageCx) -> StreamHeader {
    let part = part(&taking.name, cx.run_id());
    let base = taking.choice.base();
    StreamHeader {
        from_guid: base.map(|base| base.manifest.checksum.clone()),
        // How much an increment will be, nobody knows beforehand.
        estimate: taking.bytes.filter(|_| base.is_none()),
        ..StreamHeader::new(part, FORMAT)
    }
}

/// The cluster as the one thing that is received.
fn part(cluster: &str, run: &str) -> SnapshotPart {
    SnapshotPart {
        dataset: format!("a base backup of {cluster}"),
        mountpoint: DATA.to_owned(),
        snapshot: run.to_owned(),
        guid: String::new(),
        main: true,
    }
}

/// Why several branches are refused: the increment starts from what the one standby holds.
fn several() -> Error {
    Error::refused("pg-basebackup is taken for one standby and can't feed several branches")
        .hint("write a pipeline for each standby, or copy by snapshots (zfs-snapshot, zfs-send)")
}

/// Why a cluster with tablespaces is refused, if it has some.
fn tablespaces(taking: &Taking) -> Option<Error> {
    let (oid, path) = taking.server.tablespaces.first()?;
    let (count, path) = (taking.server.tablespaces.len(), path);
    let text = format!(
        "the source has {count} tablespace(s) outside its data directory (OID {oid} in {path}), which do not fit \
         into one stream of pg_basebackup"
    );
    Some(Error::refused(text).hint(
        "copy it by snapshots (zfs-snapshot), or move what is in them: \
         ALTER TABLE … SET TABLESPACE pg_default; DROP TABLESPACE …;",
    ))
}

impl Basebackup {
    /// Makes the slot, and with it makes sure that the standby is not the very server that is copied:
    /// a slot of a server shows in its data directory.
    async fn reserve(&self, taking: &Taking, slot: &str, cx: &StageCx) -> Result<()> {
        let session = Session::connect(&self.cluster, &application(cx.run_id())).await?;
        let created = slot::create(&session, slot).await;
        session.close().await;
        created?;
        let directory = &taking.standby.data_directory;
        if self.standby.host.files().exists(&format!("{directory}/pg_replslot/{slot}")).await? {
            let on = self.standby.host.name();
            return Err(Error::failed(format!("{directory} on {on} is the data directory of the source itself"))
                .hint("set `data_directory` of the standby to its own"));
        }
        Ok(())
    }
}
