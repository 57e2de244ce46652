//! The demo's two acts: the full seeding, and a reset by increment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::config;
use reseed_core::engine::Engine;
use reseed_core::report::{Outcome, RunReport};
use reseed_lab::{LabError, Load, Major, Pair, PairOptions, Recipe, Server, Storage, installed_majors};
use tokio::task::block_in_place;

use super::tell::{self, Findings};
use super::{Cancel, DemoArgs, backend_name};
use crate::args::TalkArgs;
use crate::observe::{Roles, Watch};
use crate::out;

/// Bytes that one unit of pgbench's scale takes.
const SCALE: u64 = 15 << 20;
/// Transactions a second, all the while.
const RATE: u32 = 300;
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

/// Plays both acts and tells what came of them.
pub(super) async fn play(args: &DemoArgs, storage: Storage, cancel: &Cancel) -> Result<(), Stop> {
    let what = match storage {
        Storage::Zfs => "two ZFS pools in files, an sshd on loopback",
        Storage::Btrfs => "two btrfs file systems in files, an sshd on loopback",
        Storage::Directories => "two directories",
    };
    out::talk(&format!("setting the stage: {what}, a primary with data"));
    let pair = block_in_place(|| set_up(args, storage, cancel));
    let pair = pair?;
    let pipeline = pair.pipeline(&Recipe { name: "demo".to_owned(), ..Recipe::default() });
    let mut findings = Findings::of(backend_name(storage));
    let played = acts(&pair, &pipeline, &mut findings, cancel).await;
    if args.json {
        out::data(&format!("{}\n", findings.json()));
    } else if played.is_ok() {
        out::data(&tell::story(&findings, &pipeline));
    }
    block_in_place(|| finish(args, pair, &pipeline, cancel))?;
    played
}

fn set_up(args: &DemoArgs, storage: Storage, cancel: &Cancel) -> Result<Pair, Stop> {
    let scale = u32::try_from(args.size.0 / SCALE).unwrap_or(u32::MAX).max(1);
    // From 17 on a base backup can be an increment.
    let incremental = (storage == Storage::Directories).then(|| installed_majors().pop_last()).flatten();
    let incremental = incremental.map(|(_, major)| major).filter(|major| major.number >= 17);
    let settings = if incremental.is_some() { vec!["summarize_wal = on".to_owned()] } else { vec![] };
    let major = incremental.map_or_else(Major::newest, Ok)?;
    let pool_bytes = args.size.0 * 6 + (2 << 30);
    let options = PairOptions { storage, scale, pool_bytes, settings, ..PairOptions::small(major) };
    let pair = Pair::new(&options);
    // Whatever failed, a cancel is the reason: the terminal sends Ctrl-C to whatever runs there.
    if cancel.first.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    Ok(pair?)
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

async fn run(pipeline: &str, cancel: &Cancel) -> Result<RunReport, Stop> {
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

fn settled(report: Option<&RunReport>) -> Result<(), Stop> {
    match report {
        Some(report) if report.outcome != Outcome::Done => Err(Stop::Run(report.exit_code())),
        _ => Ok(()),
    }
}

/// Lets the load go on until there is something worth sending.
fn write_on(primary: &Server, cancel: &Cancel) -> Result<(), Stop> {
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
fn compare(pair: &Pair, load: Load, findings: &mut Findings) -> Result<(), Stop> {
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

fn finish(args: &DemoArgs, pair: Pair, pipeline: &str, cancel: &Cancel) -> Result<(), Stop> {
    if !args.keep || cancel.first.is_cancelled() {
        out::talk("removing servers, pools and files");
        return Ok(());
    }
    let file = pair.lab.path("demo.toml");
    let written = std::fs::write(&file, pipeline);
    written.map_err(|error| Stop::Disagree(format!("can't write {file}: {error}")))?;
    let (primary, standby) = (pair.primary.clone(), pair.standby.clone());
    let script = pair.lab.keep()?;
    for (name, server) in [("primary", primary), ("standby", standby)] {
        out::talk(&format!("{name}: psql -h {} -p {} -U postgres postgres", server.sockets, server.port));
    }
    out::talk(&format!("reset it again: reseed run {file}"));
    out::talk(&format!("remove everything: sh {}", script.display()));
    Ok(())
}
