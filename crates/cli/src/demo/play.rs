//! What the demo sets up and runs; its two acts where nothing is between primary and standby: the full seeding,
//! and a reset by increment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::config;
use reseed_core::engine::Engine;
use reseed_core::report::{Outcome, RunReport};
use reseed_lab::{LabError, Load, Major, Pair, PairOptions, Recipe, Server, Storage, installed_majors};
use tokio::task::block_in_place;

use super::staged::Staging;
use super::tell::{self, Findings};
use super::{Cancel, DemoArgs, Via, backend_name};
use crate::args::TalkArgs;
use crate::observe::{Roles, Watch};
use crate::out;

/// Bytes that one unit of pgbench's scale takes.
const SCALE: u64 = 15 << 20;
/// Transactions a second, all the while.
pub(super) const RATE: u32 = 300;
/// Transactions between seeding and reset, and how long they are waited for.
const TRANSACTIONS: u64 = 1500;
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a standby may take to replay what the primary has written.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Why a demo ends early.
pub(super) enum Stop {
    /// A part could not be made.
    Lab(LabError),
    /// A run did not do what it was for; it has said why.
    Run(u8),
    /// The standby is not what it should be.
    Disagree(String),
    /// Someone has had enough.
    Cancelled,
}

impl From<LabError> for Stop {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

/// What a demo works on.
struct Stage {
    /// Where a repository is between the two; before the pair, in whose lab it lies.
    staging: Option<Staging>,
    pair: Pair,
    /// The file of a demo that goes from one to the other directly.
    direct: String,
}

/// Plays all acts and tells what came of them.
pub(super) async fn play(args: &DemoArgs, storage: Storage, cancel: &Cancel) -> Result<(), Stop> {
    let what = match storage {
        Storage::Zfs => "ZFS pools in files",
        Storage::Btrfs => "btrfs file systems in files",
        Storage::Directories => "two directories",
    };
    let way = match args.via {
        Via::Direct if storage == Storage::Directories => "",
        Via::Direct => ", an sshd on loopback",
        Via::S3 => ", an S3 server on loopback",
        Via::File => ", a directory as repository",
    };
    out::talk(&format!("setting the stage: {what}{way}, a primary with data"));
    let stage = block_in_place(|| set_up(args, storage, cancel));
    let stage = stage?;
    let mut findings = Findings::of(backend_name(storage), args.via);
    let played = match &stage.staging {
        Some(staging) => staging.play(&stage.pair, &mut findings, cancel).await,
        None => acts(&stage.pair, &stage.direct, &mut findings, cancel).await,
    };
    if args.json {
        out::data(&format!("{}\n", findings.json()));
    } else if played.is_ok() {
        out::data(&tell::story(&findings, &stage.files()));
    }
    block_in_place(|| finish(args, stage, cancel))?;
    played
}

impl Stage {
    /// The pipeline files by their names.
    fn files(&self) -> Vec<(&'static str, &str)> {
        match &self.staging {
            Some(staging) => staging.files(),
            None => vec![("demo.toml", &self.direct)],
        }
    }
}

/// The most that a pool of the demo may take.
pub(super) fn pool_bytes(args: &DemoArgs) -> u64 {
    args.size.0 * 6 + (2 << 30)
}

fn set_up(args: &DemoArgs, storage: Storage, cancel: &Cancel) -> Result<Stage, Stop> {
    let made = set_up_uncancelled(args, storage);
    // Whatever failed, a cancel is the reason: the terminal sends Ctrl-C to whatever runs there.
    if cancel.first.is_cancelled() { Err(Stop::Cancelled) } else { made }
}

fn set_up_uncancelled(args: &DemoArgs, storage: Storage) -> Result<Stage, Stop> {
    let scale = u32::try_from(args.size.0 / SCALE).unwrap_or(u32::MAX).max(1);
    // From 17 on a base backup can be an increment.
    let incremental = (storage == Storage::Directories).then(|| installed_majors().pop_last()).flatten();
    let incremental = incremental.map(|(_, major)| major).filter(|major| major.number >= 17);
    let settings = if incremental.is_some() { vec!["summarize_wal = on".to_owned()] } else { vec![] };
    let major = incremental.map_or_else(Major::newest, Ok)?;
    let options = PairOptions { storage, scale, pool_bytes: pool_bytes(args), settings, ..PairOptions::small(major) };
    let pair = Pair::new(&options)?;
    let staging = match args.via {
        Via::Direct => None,
        Via::S3 | Via::File => Some(Staging::set_up(args, &pair)?),
    };
    let direct = pair.pipeline(&Recipe { name: "demo".to_owned(), ..Recipe::default() });
    Ok(Stage { staging, pair, direct })
}

async fn acts(pair: &Pair, pipeline: &str, findings: &mut Findings, cancel: &Cancel) -> Result<(), Stop> {
    let load = pair.primary.load(RATE)?;
    tell::act("1: there is no standby yet; the whole primary is sent, while it is written to");
    findings.seed = Some(run(pipeline, cancel).await?);
    settled(findings.seed.as_ref())?;
    block_in_place(|| write_on(&pair.primary, cancel))?;
    tell::act("2: the standby is reset; only what has changed since is sent");
    findings.reset = Some(run(pipeline, cancel).await?);
    settled(findings.reset.as_ref())?;
    block_in_place(|| compare(pair, load, findings))
}

pub(super) async fn run(pipeline: &str, cancel: &Cancel) -> Result<RunReport, Stop> {
    let loaded = config::load(pipeline, &BTreeMap::new()).map_err(|problems| {
        let first = problems.into_iter().next().map(|problem| problem.message).unwrap_or_default();
        Stop::Disagree(format!("the demo's own pipeline file is wrong: {first}"))
    })?;
    let watch = Watch::begin(TalkArgs::default(), Roles::of(&loaded));
    let engine = Engine::new(loaded.pipeline).observe(Arc::new(watch.speaker()));
    let steer = async {
        cancel.first.cancelled().await;
        engine.cancel_token().cancel();
        cancel.second.cancelled().await;
        engine.stop_undo_token().cancel();
        std::future::pending::<()>().await
    };
    let report = tokio::select! {
        report = engine.run() => report,
        () = steer => unreachable!("steering goes on until the run has ended"),
    };
    watch.end();
    Ok(report)
}

pub(super) fn settled(report: Option<&RunReport>) -> Result<(), Stop> {
    match report {
        Some(report) if report.outcome != Outcome::Done => Err(Stop::Run(report.exit_code())),
        _ => Ok(()),
    }
}

/// Lets the load go on until there is something worth sending.
pub(super) fn write_on(primary: &Server, cancel: &Cancel) -> Result<(), Stop> {
    let (begun, before) = (Instant::now(), primary.rows()?);
    while primary.rows()? < before + TRANSACTIONS && begun.elapsed() < PATIENCE {
        if cancel.first.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Stops the load and compares both sides where both have everything.
pub(super) fn compare(pair: &Pair, load: Load, findings: &mut Findings) -> Result<(), Stop> {
    findings.streaming = pair.standby.streams();
    load.stop();
    pair.standby.catch_up(&pair.primary, CATCH_UP)?;
    findings.lsn = Some(pair.primary.sql("select pg_current_wal_lsn()")?);
    let rows = (pair.primary.rows()?, pair.standby.rows()?);
    (findings.rows_primary, findings.rows_standby) = (Some(rows.0), Some(rows.1));
    if !findings.streaming || rows.0 != rows.1 {
        let streams = if findings.streaming { "streams" } else { "does not stream" };
        return Err(Stop::Disagree(format!("the standby {streams} and has {} rows of {}", rows.1, rows.0)));
    }
    Ok(())
}

fn finish(args: &DemoArgs, stage: Stage, cancel: &Cancel) -> Result<(), Stop> {
    if !args.keep || cancel.first.is_cancelled() {
        out::talk("removing servers, pools and files");
        return Ok(());
    }
    let mut paths = vec![];
    for (name, text) in stage.files() {
        let path = stage.pair.lab.path(name);
        let written = std::fs::write(&path, text);
        written.map_err(|error| Stop::Disagree(format!("can't write {path}: {error}")))?;
        paths.push(path);
    }
    let mut servers = vec![("primary", stage.pair.primary.clone()), ("standby", stage.pair.standby.clone())];
    if let Some(staging) = stage.staging {
        servers.push(("alone", staging.alone.clone()));
        staging.keep();
    }
    let script = stage.pair.lab.keep()?;
    for (name, server) in servers {
        out::talk(&format!("{name}: psql -h {} -p {} -U postgres postgres", server.sockets, server.port));
    }
    for path in paths {
        out::talk(&format!("do it again: reseed run {path}"));
    }
    out::talk(&format!("remove everything: sh {}", script.display()));
    Ok(())
}
