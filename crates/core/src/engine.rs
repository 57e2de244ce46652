//! The engine: folds kinds, checks, runs, and takes everything back when something fails.

mod approach;
mod branches;
mod check;
mod commit;
mod drive;
mod limits;
mod locks;
mod pipeline;
mod scan;
mod stall;
#[cfg(test)]
mod tests;
mod unwind;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::approach::Approach;
pub(crate) use self::branches::Forked;
pub(crate) use self::commit::perform_all;
pub(crate) use self::locks::Locks;
pub(crate) use self::pipeline::STALL;
pub use self::pipeline::{Misfit, Pipeline};
pub use self::scan::Choice;
pub(crate) use self::unwind::{in_time, undo_one};

use self::approach::Rounds;
use crate::event::{Blind, Event, Observer};
use crate::guard::Grant;
use crate::item::Item;
use crate::journal::{Book, Ended, Entry, Journals, Noting, Reach};
use crate::report::{Outcome, Round, RunReport};
use crate::stage::{Meters, Run};
use crate::undo::UndoStack;
use crate::{Error, Result, run_id};

/// How a run treats its ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long a stage may go on after a cancel before it is dropped.
    pub grace: Duration,
    /// How often progress is told.
    pub tick: Duration,
    /// Whether everything is taken back although all went well: then it is shown that it can be done, and
    /// nothing of it stays.
    pub rehearsal: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), tick: Duration::from_millis(200), rehearsal: false }
    }
}

/// Runs one pipeline.
pub struct Engine {
    pipeline: Pipeline,
    observer: Arc<dyn Observer>,
    journals: Option<Arc<dyn Journals>>,
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
            journals: None,
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

    /// Says where the journal of the run is kept. Without one, nobody can take the run back after a crash
    /// of this process.
    pub fn journals(mut self, journals: Arc<dyn Journals>) -> Self {
        self.journals = Some(journals);
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

    /// What a run of the pipeline works on.
    pub fn reach(&self) -> Reach {
        let targets = locks::targets(self.pipeline.stages()).into_iter();
        Reach::new(self.pipeline.name(), targets.map(|(host, target)| (host.address(), target)).collect())
    }

    /// Surveys and checks, read-only. All refusals are collected.
    ///
    /// # Errors
    /// Each refusal with the name of its stage in front.
    pub async fn check(&self) -> Result<(), Vec<Error>> {
        check::check(&self.start(run_id(), Book::default())).await
    }

    /// What the pipeline needs to be granted on other machines, see [`guard`](crate::guard): surveys,
    /// and asks each stage.
    ///
    /// # Errors
    /// What a survey refused; nothing can be told then.
    pub async fn grants(&self) -> Result<Vec<Result<Grant>>, Vec<Error>> {
        check::grants(&self.start(run_id(), Book::default())).await
    }

    /// Checks and runs the pipeline to its end, whatever that is.
    pub async fn run(&self) -> RunReport {
        let begun = Instant::now();
        let mut rounds = Rounds::of(self.pipeline.approach_of());
        loop {
            let (run, outcome, error) = self.go(&rounds).await;
            if run.is_round() && error.is_none() {
                self.close(&run, run.reported(), outcome);
                run.locks.release(outcome != Outcome::Stuck).await;
                rounds.done(&run);
                continue;
            }
            // What the rounds brought was touched.
            let error = error.map(|error| if rounds.are_none() { error } else { error.into_failure() });
            run.note(|report| report.rounds = rounds.into_reports());
            let report = self.finish(&run, outcome, error, begun.elapsed());
            run.locks.release(outcome != Outcome::Stuck).await;
            self.observer.on(&Event::RunFinished(Box::new(report.clone())));
            return report;
        }
    }

    /// One run, which may be a round before the run proper, to its end, with a journal of its own.
    async fn go(&self, rounds: &Rounds) -> (Arc<Run>, Outcome, Option<Error>) {
        let id = run_id();
        let journal = self.begin_journal(&id);
        let run = self.start(id, journal.as_ref().cloned().unwrap_or_default());
        self.observer.on(&Event::RunStarted {
            run: run.id.clone(),
            pipeline: run.pipeline.clone(),
            stages: self.pipeline.stages().iter().map(|stage| stage.name().to_owned()).collect(),
        });
        let result = match journal {
            Ok(_) => self.check_and_run(&run, rounds).await,
            Err(error) => Err(refused(&run, "journal", error)),
        };
        if result.is_ok() && self.options.rehearsal {
            let outcome = match unwind::unwind(&run).await {
                Outcome::Undone => Outcome::Done,
                outcome => outcome,
            };
            return (run, outcome, None);
        }
        let (outcome, error) = match result.and_then(|()| commit::commit(&run)) {
            Ok(committed) => {
                commit::finish(committed, &run).await;
                (branches::stuck(&run).map_or(Outcome::Done, |_| Outcome::Stuck), None)
            }
            Err(error) => match unwind::unwind(&run).await {
                Outcome::Done => {
                    run.observer.on(&Event::Warning { stage: None, text: error.chain() });
                    (Outcome::Done, None)
                }
                outcome => (outcome, Some(error)),
            },
        };
        (run, outcome, error)
    }

    fn begin_journal(&self, id: &str) -> Result<Book> {
        match &self.journals {
            Some(journals) => journals.begin(id, self.pipeline.name()).map(Book::of),
            None => Ok(Book::default()),
        }
    }

    /// Checks the run and, if nothing refuses, runs it: all of it, or as a round up to what receives.
    async fn check_and_run(&self, run: &Arc<Run>, rounds: &Rounds) -> Result<()> {
        check::make_ready(run);
        let locked = tokio::select! {
            locked = locks::lock(run, self.journals.as_deref()) => locked,
            () = run.cancel.cancelled() => return Err(Error::cancelled()),
        };
        // That it could not be tried may have a cause which the checks know better.
        if let Err(error) = locked {
            if error.class() != crate::Class::Refused {
                check::check(run).await.map_err(check::merge)?;
            }
            return Err(refused(run, "lock", error));
        }
        check::check(run).await.map_err(check::merge)?;
        self.observer.on(&Event::Checked);
        let receiver = self.pipeline.receiver().filter(|_| !self.options.rehearsal && rounds.another(run));
        if let Some(receiver) = receiver {
            run.becomes_round(receiver);
        }
        let done = self.run_stages(run).await;
        run.watchers.end().await;
        done
    }

    /// A run of the pipeline that has not done anything yet.
    pub(crate) fn start(&self, id: String, book: Book) -> Arc<Run> {
        Arc::new(Run {
            report: Mutex::new(RunReport::new(&id, self.pipeline.name())),
            id,
            pipeline: self.pipeline.name().to_owned(),
            stages: self.pipeline.stages().to_vec(),
            branch: None,
            shared: 0,
            board: Arc::default(),
            meters: Arc::new(Meters::default()),
            observer: Arc::new(Noting { book: book.clone(), inner: Arc::clone(&self.observer) }),
            grace: self.options.grace,
            cancel: self.cancel.clone(),
            stop_undo: self.stop_undo.clone(),
            undo: Arc::new(UndoStack::new(book, None)),
            chores: Mutex::default(),
            locks: Locks::default(),
            working: TaskTracker::new(),
            forked: Mutex::default(),
            watchers: Arc::default(),
            stall: self.pipeline.stall_limit(),
            round: OnceLock::new(),
        })
    }

    async fn run_stages(&self, run: &Arc<Run>) -> Result<()> {
        let ticker = AbortOnDropHandle::new(tokio::spawn(tick(Arc::clone(run), self.options.tick)));
        let done = drive::stages(run, 0..run.end(), Item::start()).await;
        drop(ticker);
        self.observer.on(&Event::Progress(run.meters.progress()));
        done.map(drop)
    }

    fn finish(&self, run: &Arc<Run>, outcome: Outcome, error: Option<Error>, took: Duration) -> RunReport {
        let mut report = run.reported();
        let progress = run.meters.progress();
        report.outcome = outcome;
        report.seconds = took.as_secs_f64();
        report.stream_bytes = progress.stream_bytes;
        report.wire_bytes = progress.wire_bytes;
        if outcome == Outcome::Stuck && error.is_none() {
            report.error = branches::stuck(run);
        }
        if let Some(error) = error {
            report.refused = error.class() == crate::Class::Refused;
            let mut stays = branches::committed(run);
            report.cancelled = error.class() == crate::Class::Cancelled && stays.is_empty();
            stays.extend(report.rounds.iter().map(Round::stays));
            report.error = Some(match error.class() {
                // "Cancelled" alone says that everything was taken back.
                crate::Class::Cancelled if !stays.is_empty() => {
                    format!("{}; done before that, and stays: {}", error.chain(), stays.join(", "))
                }
                _ => error.chain(),
            });
            report.hint = error.hint_text().map(str::to_owned);
        }
        report.by_hand.extend(run.undo.armed().iter().map(|held| held.undo.by_hand()));
        self.close(run, report.clone(), outcome);
        report
    }

    /// Writes into the run's journal how it ended.
    fn close(&self, run: &Run, mut report: RunReport, outcome: Outcome) {
        report.outcome = outcome;
        let ended = Ended { outcome, exit_code: report.exit_code(), report: serde_json::to_value(&report).ok() };
        if let Err(error) = run.undo.book().write(&Entry::Ended(ended)) {
            // Whoever reads the journal takes the run for dead, and finds nothing to do or does it again.
            self.observer.on(&Event::Warning { stage: None, text: error.chain() });
        }
    }
}

/// Tells why a run is refused before any stage has been asked.
fn refused(run: &Run, what: &str, error: Error) -> Error {
    let error = error.into_refusal();
    let (text, hint) = (error.chain(), error.hint_text().map(str::to_owned));
    run.observer.on(&Event::Refused { index: 0, stage: what.to_owned(), error: text, hint });
    error
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
