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
    wording: Wording,
    pace: Pace,
    roles: Roles,
}

impl Bars {
    pub(super) fn new(talk: TalkArgs, roles: Roles) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, wording: Wording::new(talk), pace: Pace::default(), roles }
    }

    fn progress(&mut self, progress: &Progress, at: Instant) {
        self.pace.push(at, *progress);
        if let Some(estimate) = progress.estimate {
            if self.bar.length() != Some(estimate) {
                self.bar.set_style(gauge());
                self.bar.set_length(estimate);
            }
            self.bar.set_position(progress.stream_bytes.min(estimate));
        }
        self.bar.set_message(self.roles.progress(&self.pace));
    }
}

// Templates are constants; the fallback only keeps a mistake in them from stopping a run.
fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn gauge() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} [{bar:24}] {wide_msg}");
    style.map(|style| style.progress_chars("=> ")).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl View for Bars {
    fn show(&mut self, event: &Event, at: Instant) {
        match event {
            Event::Progress(progress) => return self.progress(progress, at),
            Event::RunFinished(_) => self.bar.finish_and_clear(),
            Event::StageStarted { stage, .. } => self.bar.set_message(stage.clone()),
            Event::RunStarted { .. } => self.bar.set_message("checking"),
            Event::StageFailed { .. } => self.bar.set_message("taking back what was done"),
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
