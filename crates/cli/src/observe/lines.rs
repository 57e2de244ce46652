//! Plain lines, for logs and pipes.

use std::io::Write;
use std::time::{Duration, Instant};

use reseed_core::event::Event;

use super::View;
use super::pace::Pace;
use super::wording::{Roles, Wording};
use crate::args::TalkArgs;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(5);

/// Writes plain lines.
pub(super) struct Lines<W> {
    out: W,
    quiet: bool,
    wording: Wording,
    pace: Pace,
    roles: Roles,
    told: Option<Instant>,
}

impl<W: Write + Send> Lines<W> {
    pub(super) fn new(out: W, talk: TalkArgs, roles: Roles) -> Self {
        Self { out, quiet: talk.quiet, wording: Wording::new(talk), pace: Pace::default(), roles, told: None }
    }

    fn write(&mut self, line: &str) {
        // Standard error may be gone (a terminal that hung up); the run goes on.
        let _ = writeln!(self.out, "{line}");
    }
}

impl<W: Write + Send> View for Lines<W> {
    fn show(&mut self, event: &Event, at: Instant) {
        if let Event::Progress(progress) = event {
            let moved = progress.stream_bytes != self.pace.now().stream_bytes;
            self.pace.push(at, *progress);
            let due = at.duration_since(*self.told.get_or_insert(at)) >= EVERY;
            if due && moved && !self.quiet {
                self.told = Some(at);
                let line = format!("        {}", self.roles.progress(&self.pace));
                self.write(&line);
            }
            return;
        }
        for line in self.wording.lines(event, at) {
            self.write(&line);
        }
    }

    fn say(&mut self, line: &str) {
        self.write(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reseed_core::event::Progress;

    fn progress(bytes: u64) -> Event {
        let mut progress = Progress::default();
        progress.stream_bytes = bytes << 20;
        progress.estimate = Some(100 << 20);
        Event::Progress(progress)
    }

    #[test]
    fn progress_is_told_every_few_seconds_and_not_at_all_if_quiet() {
        for (quiet, told) in [(false, 1), (true, 0)] {
            let talk = TalkArgs { quiet, ..TalkArgs::default() };
            let mut lines = Lines::new(Vec::new(), talk, Roles::default());
            let start = Instant::now();
            for second in 0..8 {
                lines.show(&progress(10 * second), start + Duration::from_secs(second));
            }
            let text = String::from_utf8(lines.out.clone()).unwrap();
            assert_eq!(text.lines().count(), told, "{text}");
            lines.show(&progress(70), start + Duration::from_secs(60));
            assert_eq!(String::from_utf8(lines.out).unwrap(), text, "nothing moved");
            assert!(quiet || text.contains("50.0 MiB of about 100 MiB, 10.0 MiB/s, about 5 s left"), "{text}");
        }
    }
}
