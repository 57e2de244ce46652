//! The stage `pg-quiesce`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Problem, Ref, Size};
use reseed_core::guard::Grant;
use reseed_core::host::Host;
use reseed_core::item::{Coverage, Item, Payload};
use reseed_core::leftover::Leftovers;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::guard::{self, Allowance};
use super::held::{EndSession, Held, Place, application};
use super::mode::{self, Choice, Situation, Wish};
use super::requirements::Demand;
use super::survey::Surveyed;
use super::vitals::Vitals;
use super::{backup, layout, requirements, rule, slot, wal};
use crate::cluster::Cluster;
use crate::facts::{Backup, Mode, slots};
use crate::session::Session;
use crate::target::sender::count_freed;

/// Makes the source ready for a snapshot: reserves the WAL that the standby will need, and tells the
/// server that a backup begins, or, where one atomic snapshot holds everything, has it write a
/// checkpoint. `pg-release` must follow the snapshot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QuiesceConfig {
    /// The cluster that is copied, usually the primary.
    cluster: Ref,
    /// `auto` looks at the layout: backup mode where that lets the content of pg_wal stay behind,
    /// else one atomic snapshot where there can be one, else backup mode.
    #[serde(default)]
    mode: Wish,
    /// Whether a replication slot retains the WAL that the new standby needs until it streams; there is
    /// none where the pipeline makes no standby. Without it the source must keep enough by itself (`wal_keep_size`).
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
    /// Where pg_wal leads: only needed where the host's user may not look into the data directory.
    wal_directory: Option<Located<String>>,
}

fn yes() -> bool {
    true
}

register_stage!(QuiesceConfig);

impl StageConfig for QuiesceConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let relative = self.wal_directory.as_ref().filter(|path| !path.starts_with('/'));
        if let Some(path) = relative {
            cx.problem(Problem::at(path.span(), "pg_wal's place is an absolute path"));
        }
        let wrong = relative.is_some();
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        if cluster.conninfo.is_none() && !cluster.host.is_local() {
            let problem = Problem::at(self.cluster.span(), format!("[clusters.{}] has no `conninfo`", cluster.name));
            cx.problem(problem.hint("add `conninfo = \"host=… user=… dbname=postgres\"` to it"));
            return None;
        }
        let wal_directory = self.wal_directory.map(|path| path.trim_end_matches('/').to_owned());
        let allowance = Allowance { min_safe: self.min_safe_wal, max_held: self.max_held_wal };
        let Self { mode, slot, fast, .. } = self;
        (!wrong).then(|| Arc::new(Quiesce { cluster, mode, slot, fast, allowance, wal_directory }) as _)
    }
}

pub(super) const NAME: &str = "pg-quiesce";

#[derive(Debug)]
struct Quiesce {
    cluster: Arc<Cluster>,
    mode: Wish,
    slot: bool,
    fast: bool,
    allowance: Allowance,
    wal_directory: Option<String>,
}

#[async_trait]
impl Stage for Quiesce {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Start => Ok(Kind::Quiesced),
            other => Err(Mismatch::new("the start of a pipeline", other, Kind::Quiesced)),
        }
    }

    fn approaches(&self) -> bool {
        true
    }

    fn claims(&self) -> Vec<Claim> {
        let host = self.cluster.host.name().to_owned();
        vec![Claim { what: "backup of the cluster", host, name: self.cluster.name.clone() }]
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.cluster.host))
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        super::survey::survey(&self.cluster, self.wal_directory.as_deref(), cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let surveyed = surveyed(cx)?;
        let mut refusals = requirements::refusals(&surveyed.server, self.demand(&surveyed, cx).await?);
        if !cx.has_stage(super::release::NAME) {
            let text = "pg-quiesce begins what no pg-release ends";
            refusals.push(Error::refused(text).hint("add `use = \"pg-release\"` right after the snapshot"));
        }
        if self.slot && standbys(cx) > 0 {
            refusals.extend(self.allowance.check(surveyed.server.wal_kept, cx).err());
        }
        match self.choose(&surveyed, cx) {
            Ok(choice) => {
                cx.board().put(choice);
                refusals.extend(wal::readable(choice, cx).await.err());
            }
            Err(refusal) => refusals.push(refusal),
        }
        requirements::merged(refusals)
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let host = &self.cluster.host;
        if host.is_local() {
            return Ok(vec![]);
        }
        let surveyed = surveyed(cx)?;
        Ok(rule::objects(&surveyed).into_iter().map(|path| Grant::on(host.name(), NAME, path)).collect())
    }

    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        crate::leftovers::on_source(&self.cluster).await
    }

    async fn run(&self, mut input: Item, cx: &StageCx) -> Result<Item> {
        let surveyed = surveyed(cx)?;
        let choice = *cx.board().get::<Choice>().ok_or_else(|| Error::failed("no mode was chosen"))?;
        let slot = (self.slot && standbys(cx) > 0 && !cx.approaching()).then(|| slot::name(cx.run_id()));
        super::lock::hold(&self.cluster, cx).await?;
        if !cx.approaching() {
            self.hold(&surveyed, choice, slot.as_deref(), cx).await?;
        }
        input.facts.put(&surveyed.source)?;
        input.facts.put(&Backup {
            mode: choice.mode,
            wal_included: choice.wal_included,
            slot,
            label: None,
            tablespace_map: None,
            proof_lsn: None,
        })?;
        let pieces = layout::wanted(&surveyed.source.layout, choice.wal_included).0;
        Ok(input.with(Payload::Quiesced(pieces)))
    }
}

fn surveyed(cx: &CheckCx) -> Result<Arc<Surveyed>> {
    cx.board().need(|| Error::failed("the source was not surveyed"))
}

/// Standbys that the run makes: one, or of its branches those that end with one. What only goes into a
/// repository, or stays a dataset, follows nobody, and a slot for it would retain WAL for ever.
fn standbys(cx: &CheckCx) -> usize {
    let branches = cx.branches();
    match branches.is_empty() {
        true => usize::from(cx.gives() == Some(Kind::Standby)),
        false => branches.iter().filter(|branch| branch.gives_standby()).count(),
    }
}

impl Quiesce {
    /// What the run will take of the source. The old standbys are only asked where it has no room left.
    async fn demand(&self, surveyed: &Surveyed, cx: &CheckCx) -> Result<Demand> {
        let standbys = standbys(cx);
        let freed = match requirements::is_full(&surveyed.server, standbys) {
            true => count_freed(&surveyed.server.senders, cx).await?,
            false => 0,
        };
        Ok(Demand { standbys, slots: if self.slot { standbys } else { 0 }, freed })
    }

    /// Chooses the mode and says why.
    fn choose(&self, surveyed: &Surveyed, cx: &CheckCx) -> Result<Choice> {
        let told = cx.board().get::<Coverage>();
        let unknown = || Coverage { atomic: false, reason: "the storage does not say".into(), separate: vec![] };
        let coverage = told.as_deref().cloned().unwrap_or_else(unknown);
        let wal_separate = coverage.separate.iter().any(|role| role == layout::WAL);
        let obstacle = requirements::backup_obstacle(&surveyed.server);
        // Only a standby that streams by a slot gets what stays behind; what is kept must have it.
        let slot = self.slot && standbys(cx) > 0 && !wal::is_kept(cx);
        let Coverage { atomic, reason, .. } = &coverage;
        let situation = Situation { wish: self.mode, atomic: *atomic, reason, wal_separate, slot, obstacle };
        // Where the storage could not be asked, a refusal for want of its answer is no news.
        let choice =
            mode::choose(&situation).map_err(|error| if told.is_some() { error } else { error.follow_up() })?;
        cx.note(self.explain(choice, &situation));
        if choice.mode == Mode::Atomic && !surveyed.server.role.checkpoint {
            cx.note(format!("the role {} may not CHECKPOINT: the standby replays more", surveyed.server.role.name));
        }
        Ok(choice)
    }

    fn explain(&self, choice: Choice, situation: &Situation<'_>) -> String {
        match (choice.mode, choice.wal_included) {
            (Mode::Backup, false) => {
                "backup mode; pg_wal is a dataset of its own: its content is not sent at all, the standby streams it"
                    .to_owned()
            }
            (Mode::Backup, true) => format!(
                "backup mode ({}); the content of pg_wal is sent too{}",
                situation.reason,
                if situation.wal_separate { "" } else { ", on a dataset of its own it would stay behind" }
            ),
            (Mode::Atomic, _) => format!("one atomic snapshot, no backup mode: {}", situation.reason),
        }
    }

    /// Arms the end of the slot of the run, or of each of its branches that ends with a standby.
    fn arm_slots(&self, slots: &[(Option<String>, String)], cx: &StageCx) -> Result<()> {
        for (branch, slot) in slots {
            let undo = slot::DropSlot { cluster: self.cluster.clone(), slot: slot.clone() };
            match branch {
                Some(branch) => cx.arm_for(branch, undo)?,
                None => cx.arm(undo)?,
            };
        }
        Ok(())
    }

    /// Opens the session that stays, makes the slot and begins the backup; each undo is armed first.
    async fn hold(&self, surveyed: &Surveyed, choice: Choice, slot: Option<&str>, cx: &StageCx) -> Result<()> {
        let application = application(cx.run_id());
        let slots: Vec<_> = slot.into_iter().flat_map(|slot| slots(slot, &cx.branches())).collect();
        // Armed before the session's end, and so undone after it: a session that is cut off may still
        // be making its slot.
        self.arm_slots(&slots, cx)?;
        let place = Place::default();
        let undo = EndSession { place: place.clone(), cluster: self.cluster.clone(), application: application.clone() };
        let armed = cx.arm(undo)?;
        let mut guard = place.lock().await;
        let session = guard.insert(Session::connect(&self.cluster, &application).await?);
        let vitals = Vitals::read(session).await?;
        vitals.unchanged_since(surveyed.server.vitals)?;
        for (_, slot) in &slots {
            slot::create(session, slot).await?;
        }
        guard::watch(&self.cluster, &slots, self.allowance, surveyed.server.major(), cx);
        let begun = backup::begin(session, surveyed, choice.mode, self.fast, cx);
        tokio::select! {
            begun = begun => begun?,
            () = cx.cancelled() => return Err(Error::cancelled()),
        }
        drop(guard);
        cx.board().put(Held { place, armed, vitals, major: surveyed.server.major() });
        Ok(())
    }
}
