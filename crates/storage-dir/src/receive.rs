//! The stage `dir-receive`.

mod checks;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Problem, Ref};
use reseed_core::host::{Command, Host, Job};
use reseed_core::item::{Item, Payload, SnapshotPart, StreamHeader, Volume};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Holding, Holdings, Sink, SinkStage, Stage, StageCx};
use reseed_core::{Error, Format, Kind, Mismatch, Result, register_stage};
use reseed_pg::basebackup::{Announced, Base, DATA, FORMAT, Kept, Receiver};
use reseed_pg::cluster::Cluster;
use reseed_storage::room::{self, MinFree};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::chain::{Chain, Settle};
use crate::store::{State, Store};
use crate::undo::{RemoveStore, RemoveTree};
use crate::volume::{Copy, inodes};

/// Receives base backups into a directory beside the live data, on any file system: unpacks,
/// verifies by `pg_verifybackup`, and puts increments together by `pg_combinebackup`. The standby
/// serves meanwhile. `pg-switch` then exchanges the directories by renames; what was live before is
/// kept in the same directory as `old-RUN` until `keep_old` of `pg-switch` is over.
///
/// Where increments are possible (PostgreSQL 17 and later with `summarize_wal = on`), the backups
/// are kept as they came, so that the next one can be an increment: that takes the space of the whole
/// cluster once more. Elsewhere, and with `keep_increments = 0`, nothing is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReceiveConfig {
    /// The standby, from `[clusters]`: its machine receives, as the user that runs its server.
    cluster: Ref,
    /// The directory for all that is received and set aside, for example `/data/pg.reseed` beside
    /// the data directory `/data/pg`. It must be on the same file system and belongs to reseed alone;
    /// made where it is not there.
    into: Located<String>,
    /// How many increments may follow a whole backup before the next one is whole again. Each takes
    /// space until then. With 0, no backup is kept and every one is whole.
    #[serde(default = "seven")]
    keep_increments: usize,
    /// How much of the file system must stay free, for the databases that live on it: a share, `5%`, or an
    /// amount, `20GiB`. What would leave less is refused, and the run stops when less is left while it
    /// lasts. By default 5 %, or 1 GiB where that is less, or as much as will come
    /// where that is less still and known; `0%` lets it fill up.
    #[serde(default)]
    min_free: MinFree,
    /// Whether `pg_verifybackup` reads everything that was received, and what was put together,
    /// before it is used (PostgreSQL 13 and later).
    #[serde(default = "yes")]
    verify: bool,
}

fn seven() -> usize {
    7
}

fn yes() -> bool {
    true
}

register_stage!(ReceiveConfig);

const NAME: &str = "dir-receive";

/// Unpacks an archive into `$1`: modes as they are, owned by whoever unpacks, by options that every
/// `tar` has. A `tar` ends with the archive, which may be before its input ends.
const UNPACK: &str = r#"tar -x -p -o -f - -C "$1" && exec cat >/dev/null"#;

impl StageConfig for ReceiveConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster);
        let path = self.into.trim_end_matches('/').to_owned();
        let sound = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
        if !sound || path.contains(['\n', '\t']) {
            let problem = Problem::at(self.into.span(), "this must be an absolute path without `.` and `..`");
            cx.problem(problem.hint("for example `/data/pg.reseed` beside the data directory `/data/pg`"));
            return None;
        }
        let cluster = cluster?;
        let store = Store { host: Arc::clone(&cluster.host), path };
        let Self { keep_increments, min_free, verify, .. } = self;
        let receiver = Directory { cluster, store, keep_increments, min_free, verify };
        Some(Arc::new(DirReceive(SinkStage(receiver))))
    }
}

/// Receives one base backup.
#[derive(Debug)]
struct Directory {
    cluster: Arc<Cluster>,
    store: Store,
    keep_increments: usize,
    min_free: MinFree,
    verify: bool,
}

/// What was received, and what it follows: on the board from the stream's begin on.
#[derive(Debug, Clone)]
struct Arrival {
    /// Where it is unpacked.
    directory: String,
    /// The chain with it at its end; `None` where it is itself what will run.
    chain: Option<Chain>,
}

impl Directory {
    fn announced(&self, cx: &CheckCx) -> Result<Announced> {
        let missing = || {
            Error::refused("nothing tells what will be received").hint("put `pg-basebackup` in front of dir-receive")
        };
        cx.board().need::<Announced>(missing).map(|announced| *announced)
    }

    /// Whether what comes is kept as it came, beside what will run.
    fn chained(&self, announced: Announced) -> bool {
        announced.incremental || (announced.can_be_base && self.keep_increments > 0)
    }

    /// What an increment may start from, or why nothing.
    async fn kept(&self, receiver: &Receiver) -> Result<Kept> {
        let chain = Chain::read(&self.store).await?;
        let Some(last) = chain.paths(&self.store).pop() else { return Ok(Kept::Nothing) };
        if chain.increments() >= self.keep_increments {
            let (is, most) = (chain.increments(), self.keep_increments);
            return Ok(Kept::NoBase(format!("{is} increments are kept, and `keep_increments` is {most}")));
        }
        for path in chain.paths(&self.store) {
            if !self.store.host.files().exists(&format!("{path}/backup_manifest")).await? {
                return Ok(Kept::NoBase(format!("{path} is gone")));
            }
        }
        Ok(match receiver.manifest(&last).await {
            Ok(Some(manifest)) => Kept::Base(Base { manifest, path: format!("{last}/backup_manifest") }),
            Ok(None) => Kept::NoBase(format!("{last} has no manifest")),
            Err(error) => Kept::NoBase(error.chain()),
        })
    }

    fn arrival(&self, cx: &CheckCx) -> Result<Arc<Arrival>> {
        cx.board().get::<Arrival>().ok_or_else(|| Error::failed("nothing was received"))
    }

    /// Makes the store and says where in it the stream goes.
    async fn prepare(&self, receiver: &Receiver, header: &StreamHeader, cx: &StageCx) -> Result<Arrival> {
        let store = &self.store;
        let state = store.inspect(receiver.live()).await?.state;
        if matches!(state, State::Absent | State::Empty) {
            cx.arm(RemoveStore { store: store.clone(), was_empty: state == State::Empty })?;
        }
        store.make(receiver.user(), receiver.live()).await?;
        if !self.chained(self.announced(cx)?) {
            return Ok(Arrival { directory: store.copy(cx.run_id()), chain: None });
        }
        let before = match header.from_guid {
            Some(_) => Chain::read(store).await?,
            None => Chain::default(),
        };
        Ok(Arrival { directory: store.backup(cx.run_id()), chain: Some(before.with(cx.run_id())) })
    }

    /// Arms the removal of a directory that is about to be made.
    async fn arm(&self, path: &str, receiver: &Receiver, cx: &StageCx) -> Result<()> {
        // Half-way through a switch by exchange, what was live bears the copy's name.
        let [spare, _] = inodes(self.store.host.as_ref(), [receiver.live(), path]).await?;
        cx.arm(RemoveTree { store: self.store.clone(), path: path.to_owned(), spare })?;
        Ok(())
    }

    /// Puts the chain together to what will run; where there is none, that is what was received.
    async fn assemble(&self, arrival: &Arrival, receiver: &Receiver, cx: &StageCx) -> Result<String> {
        let Some(chain) = &arrival.chain else { return Ok(arrival.directory.clone()) };
        let copy = self.store.copy(cx.run_id());
        self.arm(&copy, receiver, cx).await?;
        self.store.directory(&copy, receiver.user()).await?;
        receiver.combine(&chain.paths(&self.store), &copy).await?;
        if self.verify && chain.increments() > 0 {
            receiver.verify(&copy).await?;
        }
        Ok(copy)
    }
}

#[async_trait]
impl Sink for Directory {
    fn name(&self) -> &str {
        NAME
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.store.host)
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.store.host.name().to_owned();
        vec![Claim { what: "directory", host, name: self.store.path.clone() }]
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        checks::check(self, cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Holdings> {
        let receiver = Receiver::of(&self.cluster, cx).await?;
        let kept = match self.keep_increments {
            0 => Kept::NoBase("`keep_increments` is 0".to_owned()),
            _ => self.kept(&receiver).await?,
        };
        let guids = match &kept {
            Kept::Base(base) => vec![base.manifest.checksum.clone()],
            _ => vec![],
        };
        cx.board().put(kept);
        let holding = |part: &SnapshotPart| Holding::of(&part.dataset, guids.clone());
        Ok(Holdings::at(&self.store.path, wanted.iter().map(holding).collect()))
    }

    async fn begin(&self, header: &StreamHeader, cx: &StageCx) -> Result<Job> {
        let receiver = Receiver::of(&self.cluster, cx).await?;
        let arrival = self.prepare(&receiver, header, cx).await?;
        let directory = arrival.directory.clone();
        let (host, path) = (Arc::clone(&self.store.host), self.store.path.clone());
        let what = format!("the file system of {path} on {}", host.name());
        let ask = move || {
            let (host, path) = (Arc::clone(&host), path.clone());
            async move { room::of_path(&host, &path).await }
        };
        self.min_free.watch(what, self.announced(cx)?.bytes, ask, cx);
        self.arm(&directory, &receiver, cx).await?;
        self.store.directory(&directory, receiver.user()).await?;
        cx.board().put(arrival);
        Ok(Command::script(UNPACK).titled("unpack").arg(directory).as_user(receiver.user()).into())
    }

    async fn verify(&self, _header: &StreamHeader, cx: &StageCx) -> Result<()> {
        let receiver = Receiver::of(&self.cluster, cx).await?;
        let directory = &self.arrival(cx)?.directory;
        self.store.sync().await?;
        // Each of them is the last file of its archive.
        let last = if receiver.has_manifests() { "backup_manifest" } else { "global/pg_control" };
        if !self.store.host.files().exists(&format!("{directory}/{last}")).await? {
            return Err(Error::failed(format!("the stream ended well, but {directory} has no {last}")));
        }
        match self.verify && receiver.has_manifests() {
            true => receiver.verify(directory).await,
            false => Ok(()),
        }
    }

    async fn finish(&self, _received: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
        let receiver = Receiver::of(&self.cluster, cx).await?;
        let arrival = self.arrival(cx)?;
        let path = self.assemble(&arrival, &receiver, cx).await?;
        let (store, chain) = (self.store.clone(), arrival.chain.clone().unwrap_or_default());
        cx.after_commit(Settle { store: store.clone(), chain })?;
        Ok(Arc::new(Copy { store, path, run: cx.run_id().to_owned() }))
    }
}

/// The stage: receives, and then completes what is known of the backup by what came with it.
#[derive(Debug)]
struct DirReceive(SinkStage<Directory>);

#[async_trait]
impl Stage for DirReceive {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        self.0.flow(input)
    }

    fn claims(&self) -> Vec<Claim> {
        self.0.claims()
    }

    fn locks(&self) -> Vec<Claim> {
        self.0.locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.0.host()
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.0.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.check(cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        self.0.holds(wanted, cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let mut item = self.0.run(input, cx).await?;
        let directory = &self.0.0;
        let Payload::Dataset(volume) = &item.payload else { return Err(Error::failed("nothing was received")) };
        let copy = volume.locate(DATA).ok_or_else(|| Error::failed("no data directory was received"))?;
        let receiver = Receiver::of(&directory.cluster, cx).await?;
        receiver.complete(&mut item.facts, &copy, cx).await?;
        let manifest = receiver.manifest(&directory.arrival(cx)?.directory).await?;
        cx.report(|report| report.to_guid = manifest.map(|manifest| manifest.checksum));
        Ok(item)
    }
}
