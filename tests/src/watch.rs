//! Asks a standby all the while whether it answers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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

/// Looks at each event of a run how many advisory locks are held in a primary's database.
#[derive(Debug)]
pub struct LockWatch {
    primary: Server,
    seen: Arc<Mutex<Vec<(String, u32)>>>,
}

impl LockWatch {
    /// On this primary.
    pub fn of(primary: &Server) -> Self {
        Self { primary: primary.clone(), seen: Arc::default() }
    }

    /// Fails the test unless none is held, as soon as the server knows that the session is closed.
    #[track_caller]
    pub fn must_see_none(&self) {
        let begun = Instant::now();
        while held(&self.primary) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "a lock that outlives its run");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What must hear the run's events.
    pub fn listener(&self) -> Listener {
        let (primary, seen) = (self.primary.clone(), Arc::clone(&self.seen));
        Arc::new(move |event| {
            let what = match event {
                Event::StageStarted { stage, .. } => format!("{stage} begins"),
                Event::StageFinished { stage, .. } => format!("{stage} has ended"),
                Event::Progress(_) => "meanwhile".to_owned(),
                _ => return,
            };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((what, held(&primary)));
        })
    }

    /// Fails the test unless so many were held from the end of the stage that takes them to that of the last.
    #[track_caller]
    pub fn must_have_seen(&self, locks: u32, from: &str, stages: &[String]) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{seen:?}");
        let first = seen.iter().position(|(what, _)| *what == format!("{from} has ended")).unwrap();
        let last = seen.iter().rposition(|(what, _)| what.ends_with("has ended")).unwrap();
        let during = &seen[first..=last];
        let missing: Vec<_> = during.iter().filter(|(_, held)| *held != locks).collect();
        assert!(missing.is_empty(), "not {locks} at {missing:?}");
        let after = stages.iter().skip_while(|stage| *stage != from).skip(1);
        for (stage, what) in after.flat_map(|stage| [(stage, "begins"), (stage, "has ended")]) {
            assert!(during.iter().any(|(seen, _)| *seen == format!("{stage} {what}")), "{stage} {what}: not seen");
        }
    }
}

fn held(primary: &Server) -> u32 {
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and granted";
    primary.sql(sql).unwrap().trim().parse().unwrap()
}
