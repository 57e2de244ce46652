//! Asks a standby all the while whether it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use reseed_core::event::Event;
use reseed_lab::Server;

use crate::run::Listener;

/// Stages that may stop the server.
const STOPPING: [&str; 2] = ["pg-switch", "pg-stop"];

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    stopping: AtomicBool,
    answers: AtomicU32,
    refusals: AtomicU32,
}

/// A reader that asks a standby again and again until the stage begins that stops it.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// Begins to ask.
    pub fn of(server: &Server) -> Self {
        let shared = Arc::new(Shared::default());
        let (mine, server) = (Arc::clone(&shared), server.clone());
        let thread = std::thread::spawn(move || {
            while !mine.over.load(Ordering::SeqCst) {
                let answered = server.sql("select count(*) from pgbench_branches").is_ok();
                // A refusal counts only if nothing may have stopped the server by then.
                if !mine.stopping.load(Ordering::SeqCst) {
                    let count = if answered { &mine.answers } else { &mine.refusals };
                    count.fetch_add(1, Ordering::SeqCst);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { shared, thread }
    }

    /// What must hear the run's events.
    pub fn listener(&self) -> Listener {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |event| {
            if matches!(event, Event::StageStarted { stage, .. } if STOPPING.contains(&stage.as_str())) {
                shared.stopping.store(true, Ordering::SeqCst);
            }
        })
    }

    /// Ends, and fails the test unless every query before the stop was answered.
    #[track_caller]
    pub fn must_have_been_answered(self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let count = |count: &AtomicU32| count.load(Ordering::SeqCst);
        assert_eq!(count(&self.shared.refusals), 0, "the standby refused to answer before it was stopped");
        assert!(count(&self.shared.answers) > 0, "the standby was never asked");
    }
}
