//! The engine: folds kinds, checks, runs, and takes everything back when something fails.

mod check;
#[cfg(test)]
mod tests;
mod unwind;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::event::{Blind, Event, Observer};
use crate::item::Item;
use crate::report::{Outcome, RunReport};
use crate::stage::{Board, CheckCx, Claim, Meters, Run, Stage, StageCx};
use crate::undo::{Chore, UndoStack};
use crate::{Error, Kind, Mismatch, Result, run_id};

/// Stages in order, under a name.
#[derive(Debug, Clone)]
pub struct Pipeline {
    name: String,
    stages: Vec<Arc<dyn Stage>>,
}

/// Why a pipeline can't be one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// A stage can't follow the one before it.
    Kind {
        /// Position of the stage, from 0.
        index: usize,
        /// What does not fit.
        mismatch: Box<Mismatch>,
    },
    /// Two stages want the same thing for themselves.
    Claim {
        /// Positions of the two stages.
        indexes: (usize, usize),
        /// What they both want.
        claim: Claim,
    },
    /// The last stage gives something that is no end of a pipeline.
    End {
        /// What it gives.
        kind: Kind,
    },
}

impl Pipeline {
    /// A pipeline of these stages.
    pub fn new(name: impl Into<String>, stages: Vec<Arc<dyn Stage>>) -> Self {
        Self { name: name.into(), stages }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its stages.
    pub fn stages(&self) -> &[Arc<dyn Stage>] {
        &self.stages
    }

    /// The kind after each stage. Pure.
    ///
    /// # Errors
    /// Every mismatch and every claim that two stages make, all at once.
    pub fn fold(&self) -> Result<Vec<Kind>, Vec<Misfit>> {
        let mut misfits = self.contested();
        let mut kinds = Vec::with_capacity(self.stages.len());
        let mut kind = Kind::Start;
        for (index, stage) in self.stages.iter().enumerate() {
            kind = stage.flow(&kind).unwrap_or_else(|mismatch| {
                let gives = mismatch.gives.clone();
                misfits.push(Misfit::Kind { index, mismatch });
                gives
            });
            kinds.push(kind.clone());
        }
        if !matches!(kind, Kind::Standby | Kind::Staged(_) | Kind::Dataset(_)) && misfits.is_empty() {
            misfits.push(Misfit::End { kind });
        }
        if misfits.is_empty() { Ok(kinds) } else { Err(misfits) }
    }

    fn contested(&self) -> Vec<Misfit> {
        let mut owners: Vec<(usize, Claim)> = Vec::new();
        let mut misfits = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            for claim in stage.claims() {
                match owners.iter().find(|(owner, held)| *held == claim && *owner != index) {
                    Some((owner, _)) => misfits.push(Misfit::Claim { indexes: (*owner, index), claim }),
                    None => owners.push((index, claim)),
                }
            }
        }
        misfits
    }
}

/// How a run treats its ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long a stage may go on after a cancel before it is dropped.
    pub grace: Duration,
    /// How often progress is told.
    pub tick: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), tick: Duration::from_millis(200) }
    }
}

/// Runs one pipeline.
pub struct Engine {
    pipeline: Pipeline,
    observer: Arc<dyn Observer>,
    options: Options,
    cancel: CancellationToken,
    stop_undo: CancellationToken,
}

impl Engine {
    /// An engine that nobody watches.
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            pipeline,
            observer: Arc::new(Blind),
            options: Options::default(),
            cancel: CancellationToken::new(),
            stop_undo: CancellationToken::new(),
        }
    }

    /// Adds someone who watches.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets how ends are treated.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Cancelling this token ends the run and takes everything back.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Cancelling this token also gives up taking things back; the report then says what is left.
    pub fn stop_undo_token(&self) -> CancellationToken {
        self.stop_undo.clone()
    }

    /// Surveys and checks, read-only. All refusals are collected.
    ///
    /// # Errors
    /// Each refusal with the name of its stage in front.
    pub async fn check(&self) -> Result<(), Vec<Error>> {
        self.check_run(&self.start()).await
    }

    /// Checks and runs the pipeline to its end, whatever that is.
    pub async fn run(&self) -> RunReport {
        let begun = Instant::now();
        let run = self.start();
        self.observer.on(&Event::RunStarted {
            run: run.id.clone(),
            pipeline: run.pipeline.clone(),
            stages: self.pipeline.stages.iter().map(|stage| stage.name().to_owned()).collect(),
        });
        let result = match self.check_run(&run).await {
            Ok(()) => {
                self.observer.on(&Event::Checked);
                self.run_stages(&run).await
            }
            Err(refusals) => Err(check::merge(refusals)),
        };
        let outcome = match &result {
            Ok(()) => self.commit(&run).await,
            Err(_) => unwind::unwind(&run, &self.stop_undo).await,
        };
        self.finish(&run, outcome, result.err(), begun.elapsed())
    }

    fn start(&self) -> Arc<Run> {
        let id = run_id();
        Arc::new(Run {
            report: Mutex::new(RunReport::new(&id, self.pipeline.name())),
            id,
            pipeline: self.pipeline.name().to_owned(),
            stages: self.pipeline.stages.clone(),
            board: Board::default(),
            meters: Meters::default(),
            observer: Arc::clone(&self.observer),
            cancel: self.cancel.clone(),
            undo: UndoStack::default(),
            chores: Mutex::default(),
        })
    }

    async fn unless_cancelled(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::cancelled()),
            done = work => done,
        }
    }

    async fn run_stages(&self, run: &Arc<Run>) -> Result<()> {
        let ticker = tokio::spawn(tick(Arc::clone(run), self.options.tick));
        let mut item = Ok(Item::start());
        for index in 0..run.stages.len() {
            let Ok(input) = item else { break };
            item = self.run_stage(run, index, input).await;
        }
        ticker.abort();
        self.observer.on(&Event::Progress(run.meters.progress()));
        item.map(drop)
    }

    async fn run_stage(&self, run: &Arc<Run>, index: usize, input: Item) -> Result<Item> {
        let name = run.stages[index].name().to_owned();

        self.observer.on(&Event::StageStarted { index, stage: name.clone() });
        let begun = Instant::now();
        match self.drive(run, index, input).await {
            Ok(item) => {
                let seconds = begun.elapsed().as_secs_f64();
                self.observer.on(&Event::StageFinished { index, stage: name, seconds });
                Ok(item)
            }
            Err(error) => {
                let error = error.context(format!("stage {name}"));
                self.observer.on(&Event::StageFailed { index, stage: name, error: error.chain() });
                Err(error)
            }
        }
    }

    /// Runs one stage as a task of its own, so that a panic is an error like another. After a
    /// cancel it has a grace period; then it is dropped, and its children with it.
    async fn drive(&self, run: &Arc<Run>, index: usize, input: Item) -> Result<Item> {
        if self.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let stage = Arc::clone(&run.stages[index]);
        let cx = StageCx(CheckCx { run: Arc::clone(run), index });
        let mut task = tokio::spawn(async move { stage.run(input, &cx).await });
        let joined = tokio::select! {
            joined = &mut task => joined,
            () = self.cancel.cancelled() => match tokio::time::timeout(self.options.grace, &mut task).await {
                Ok(joined) => joined,
                Err(_) => {
                    task.abort();
                    task.await
                }
            },
        };
        match joined {
            Ok(result) if self.cancel.is_cancelled() => {
                result.and(Err(Error::cancelled())).map_err(|_| Error::cancelled())
            }
            Ok(result) => result,
            Err(gone) if gone.is_panic() => Err(Error::failed(format!("panicked: {}", panic_text(gone)))),
            Err(_) => Err(Error::cancelled()),
        }
    }

    async fn commit(&self, run: &Arc<Run>) -> Outcome {
        run.undo.commit();
        let chores = std::mem::take(&mut *run.chores.lock().unwrap_or_else(PoisonError::into_inner));
        let mut places: BTreeMap<Option<String>, Vec<Arc<dyn Chore>>> = BTreeMap::new();
        for chore in chores {
            places.entry(chore.host().map(|host| host.name().to_owned())).or_default().push(chore);
        }
        let mut working: JoinSet<()> =
            places.into_values().map(|chores| perform(chores, Arc::clone(&self.observer))).collect();
        while let Some(done) = working.join_next().await {
            if let Err(gone) = done {
                let text = format!("work after the commit panicked: {}", panic_text(gone));
                self.observer.on(&Event::Warning { stage: None, text });
            }
        }
        Outcome::Done
    }

    fn finish(&self, run: &Arc<Run>, outcome: Outcome, error: Option<Error>, took: Duration) -> RunReport {
        let mut report = run.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let progress = run.meters.progress();
        report.outcome = outcome;
        report.seconds = took.as_secs_f64();
        report.stream_bytes = progress.stream_bytes;
        report.wire_bytes = progress.wire_bytes;
        if let Some(error) = error {
            report.refused = error.class() == crate::Class::Refused;
            report.cancelled = error.class() == crate::Class::Cancelled;
            report.error = Some(error.chain());
            report.hint = error.hint_text().map(str::to_owned);
        }
        report.by_hand = run.undo.armed().iter().map(|undo| undo.by_hand()).collect();
        self.observer.on(&Event::RunFinished(Box::new(report.clone())));
        report
    }
}

async fn tick(run: Arc<Run>, every: Duration) {
    let mut told = None;
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let progress = run.meters.progress();
        if progress.stream_bytes + progress.wire_bytes > 0 && told != Some(progress) {
            run.observer.on(&Event::Progress(progress));
            told = Some(progress);
        }
    }
}

async fn perform(chores: Vec<Arc<dyn Chore>>, observer: Arc<dyn Observer>) {
    for chore in chores {
        match chore.perform().await {
            Ok(Some(text)) => observer.on(&Event::Chore { text }),
            Ok(None) => {}
            Err(error) => {
                let text = format!("{}: {}", chore.describe(), error.chain());
                observer.on(&Event::Warning { stage: None, text });
            }
        }
    }
}

fn panic_text(gone: tokio::task::JoinError) -> String {
    let payload = gone.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
