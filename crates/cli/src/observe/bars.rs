//! A bar on a terminal; what is to stay is printed above it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reseed_core::event::{Event, Progress};

use super::View;
use super::pace::Pace;
use super::wording::{Roles, Wording};
use crate::args::TalkArgs;
use crate::out;

/// Draws a bar.
pub(super) struct Bars {
    bar: ProgressBar,
    gauge: bool,
    wording: Wording,
    pace: Pace,
    roles: Roles,
}

impl Bars {
    pub(super) fn new(talk: TalkArgs, roles: Roles) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, gauge: false, wording: Wording::new(talk), pace: Pace::default(), roles }
    }

    fn progress(&mut self, progress: &Progress, at: Instant) {
        let moved = progress.stream_bytes != self.pace.now().stream_bytes;
        self.pace.push(at, *progress);
        // What comes after the last byte has other words.
        if !moved {
            return;
        }
        if let Some(estimate) = progress.estimate {
            self.bar.set_length(estimate);
            self.bar.set_position(progress.stream_bytes.min(estimate));
        }
        self.shape(progress.estimate.is_some());
        self.bar.set_message(self.roles.progress(&self.pace));
    }

    /// A gauge while it is known how much is to come, else a spinner.
    fn shape(&mut self, as_gauge: bool) {
        if self.gauge != as_gauge {
            self.bar.set_style(if as_gauge { gauge() } else { spinner() });
            self.gauge = as_gauge;
        }
    }

    fn now(&mut self, what: &str) {
        self.shape(false);
        self.bar.set_message(what.to_owned());
    }
}

// Templates are constants; the fallback only keeps a mistake in them from stopping a run.
fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn gauge() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} [{bar:14}] {wide_msg}");
    style.map(|style| style.progress_chars("=> ")).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl View for Bars {
    fn show(&mut self, event: &Event, at: Instant) {
        match event {
            Event::Progress(progress) => return self.progress(progress, at),
            Event::RunFinished(_) => self.bar.finish_and_clear(),
            Event::RunStarted { .. } => self.now("checking"),
            Event::StageStarted { stage, .. } => self.now(stage),
            Event::StageFinished { stage, .. } => self.now(&format!("after {stage}")),
            Event::StageFailed { .. } => self.now("taking back what was done"),
            _ => {}
        }
        for line in self.wording.lines(event, at) {
            self.say(&line);
        }
    }

    fn say(&mut self, line: &str) {
        self.bar.suspend(|| out::talk(line));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}
