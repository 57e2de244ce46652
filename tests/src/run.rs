//! Runs pipelines in this process and keeps what they told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reseed_core::config::{self, Loaded};
use reseed_core::engine::{Approach, Engine, Options, Pipeline};
use reseed_core::event::{Event, Observer};
use reseed_core::report::{Outcome, RunReport};
use reseed_core::stage::Stage;
use reseed_lab::Tool;
use tokio_util::sync::CancellationToken;

/// What a run told, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its report.
    pub report: RunReport,
    /// Every event but progress.
    pub events: Vec<Event>,
}

/// Someone else who wants every event.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// One run of a pipeline that a test prepares.
pub struct Trial {
    stages: Vec<Arc<dyn Stage>>,
    name: String,
    stall: Option<Duration>,
    approach: Option<Approach>,
    cancel: CancellationToken,
    listener: Option<Listener>,
    patience: Duration,
}

struct Keeper {
    events: Mutex<Vec<Event>>,
    listener: Option<Listener>,
}

impl Observer for Keeper {
    fn on(&self, event: &Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
        if !matches!(event, Event::Progress(_)) {
            self.events.lock().unwrap().push(event.clone());
        }
    }
}

/// Reads a pipeline file that must be good.
pub fn load(text: &str) -> Loaded {
    config::load(text, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// Runs a pipeline file.
pub async fn run(text: &str) -> Ended {
    Trial::of(text).run().await
}

/// Runs a pipeline file that must do what it is for.
pub async fn succeed(text: &str) -> Ended {
    let ended = run(text).await;
    ended.must_be_done();
    ended
}

/// A run that takes longer hangs, and its test tells where.
const PATIENCE: Duration = Duration::from_secs(200);

/// What runs on the machine and what each process waits for.
fn processes() -> String {
    let ps = Tool::new("ps").args(["-e", "-ww", "-o", "pid,ppid,stat,etimes,wchan:24,args"]);
    ps.run().unwrap_or_else(|error| error.to_string())
}

impl Trial {
    /// A run of this pipeline file.
    pub fn of(text: &str) -> Self {
        let pipeline = load(text).pipeline;
        let (stages, name) = (pipeline.stages().to_vec(), pipeline.name().to_owned());
        let (stall, approach) = (pipeline.stall_limit(), pipeline.approach_of());
        let cancel = CancellationToken::new();
        Self { stages, name, stall, approach, cancel, listener: None, patience: PATIENCE }
    }

    /// Names of the stages.
    pub fn stages(&self) -> Vec<String> {
        self.stages.iter().map(|stage| stage.name().to_owned()).collect()
    }

    /// Puts something else in the place of a stage.
    pub fn wrap(
        mut self,
        index: usize,
        wrap: impl FnOnce(Arc<dyn Stage>, CancellationToken) -> Arc<dyn Stage>,
    ) -> Self {
        self.stages[index] = wrap(Arc::clone(&self.stages[index]), self.cancel.clone());
        self
    }

    /// Cancels the run.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Lets it take longer before it counts as hanging.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Tells every event to someone else too.
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Runs it.
    pub async fn run(self) -> Ended {
        let keeper = Arc::new(Keeper { events: Mutex::default(), listener: self.listener });
        let mut options = Options::default();
        options.grace = Duration::from_secs(5);
        let engine = Engine::new(Pipeline::new(self.name, self.stages).stall(self.stall).approach(self.approach));
        let engine = engine.options(options).observe(Arc::clone(&keeper) as Arc<dyn Observer>);
        let (mine, its) = (self.cancel, engine.cancel_token());
        let relay = tokio::spawn(async move {
            mine.cancelled().await;
            its.cancel();
        });
        let report = tokio::time::timeout(self.patience, engine.run()).await;
        relay.abort();
        let events = std::mem::take(&mut *keeper.events.lock().unwrap());
        let Ok(report) = report else { panic!("the run does not end\n{events:#?}\n{}", processes()) };
        Ended { report, events }
    }
}

impl Ended {
    /// Fails the test unless the run did what it was for, without a warning.
    #[track_caller]
    pub fn must_be_done(&self) {
        assert_eq!(self.report.outcome, Outcome::Done, "{}", self.story());
        let warned = self.events.iter().any(|event| matches!(event, Event::Warning { .. }));
        assert!(!warned, "{}", self.story());
    }

    /// Fails the test unless the run ended with this code, an error that holds this reason, and a hint that holds that.
    #[track_caller]
    pub fn must_say(&self, code: u8, reason: &str, hint: &str) {
        let says = |text: &Option<String>, what: &str| text.as_ref().is_some_and(|text| text.contains(what));
        assert_eq!(self.report.exit_code(), code, "{}", self.story());
        assert!(says(&self.report.error, reason) && says(&self.report.hint, hint), "{reason}: {}", self.story());
    }

    /// How long it took, in a line.
    pub fn summary(&self) -> String {
        let stages = self.events.iter().filter_map(|event| match event {
            Event::StageFinished { stage, seconds, .. } => Some(format!(" {stage} {seconds:.2}")),
            _ => None,
        });
        let RunReport { seconds, downtime_seconds, stream_bytes, .. } = &self.report;
        format!("{seconds:.2} s, {stream_bytes} bytes, down {downtime_seconds:?}:{}", stages.collect::<String>())
    }

    /// Everything that happened, for the message of a failed test.
    pub fn story(&self) -> String {
        let told = self.events.iter().map(|event| format!("  {event:?}\n"));
        format!("{}{:#?}", told.collect::<String>(), self.report)
    }
}
