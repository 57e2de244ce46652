//! How fast bytes move, how long it will take, and who holds the others up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reseed_core::event::Progress;

/// Only the last seconds count: disks and links change their mind.
const WINDOW: Duration = Duration::from_secs(10);
/// Less time than this says nothing about speed.
const SHORTEST: Duration = Duration::from_millis(400);
/// A share of the time that is worth a word.
const MUCH: f64 = 0.5;

/// Recent progress.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: VecDeque<(Instant, Progress)>,
}

/// Who the others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slowest {
    /// What makes the stream, where no wire is between.
    Source,
    /// What makes the stream, or the wire that it comes by.
    Wire,
    /// Undoing the encodings of the stream.
    Decoding,
    /// What receives the stream.
    Sink,
}

impl Pace {
    /// Takes note of how far it is at a time.
    pub(super) fn push(&mut self, at: Instant, progress: Progress) {
        self.recent.push_back((at, progress));
        // One older than the window stays, so that the window is always covered.
        while self.recent.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= WINDOW) {
            self.recent.pop_front();
        }
    }

    /// How far it is now.
    pub(super) fn now(&self) -> Progress {
        self.recent.back().map(|(_, progress)| *progress).unwrap_or_default()
    }

    /// Bytes of the stream in a second, before encoding.
    pub(super) fn rate(&self) -> Option<f64> {
        let (from, to, took) = self.span()?;
        Some((to.stream_bytes.saturating_sub(from.stream_bytes)) as f64 / took.as_secs_f64())
    }

    /// How long it will take if it goes on like this; none where nobody knows how much is to come.
    pub(super) fn left(&self) -> Option<Duration> {
        let now = self.now();
        let bytes = now.estimate?.checked_sub(now.stream_bytes).filter(|bytes| *bytes > 0)?;
        let seconds = bytes as f64 / self.rate().filter(|rate| *rate >= 1.0)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Who was waited for during most of the time.
    pub(super) fn slowest(&self) -> Option<Slowest> {
        let (from, to, took) = self.span()?;
        let wire = to.wire_wait.saturating_sub(from.wire_wait);
        let stream = to.stream_wait.saturating_sub(from.stream_wait);
        let sink = to.sink_wait.saturating_sub(from.sink_wait);
        let waits = match to.wire_bytes {
            0 => vec![(Slowest::Source, stream), (Slowest::Sink, sink)],
            _ => {
                let decoding = stream.saturating_sub(wire);
                vec![(Slowest::Wire, wire), (Slowest::Decoding, decoding), (Slowest::Sink, sink)]
            }
        };
        let (slowest, nanos) = waits.into_iter().max_by_key(|(_, nanos)| *nanos)?;
        (nanos as f64 / took.as_nanos() as f64 >= MUCH).then_some(slowest)
    }

    fn span(&self) -> Option<(Progress, Progress, Duration)> {
        let ((begun, from), (ended, to)) = (self.recent.front()?, self.recent.back()?);
        let took = ended.duration_since(*begun);
        (took >= SHORTEST).then_some((*from, *to, took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stream: u64, wire: u64, waits: [u64; 3]) -> Progress {
        let mut progress = Progress::default();
        (progress.stream_bytes, progress.wire_bytes) = (stream, wire);
        [progress.wire_wait, progress.stream_wait, progress.sink_wait] = waits.map(|ms| ms * 1_000_000);
        progress.estimate = Some(10_000);
        progress
    }

    fn pace(steps: &[(u64, Progress)]) -> Pace {
        let start = Instant::now();
        let mut pace = Pace::default();
        for (millis, progress) in steps {
            pace.push(start + Duration::from_millis(*millis), *progress);
        }
        pace
    }

    #[test]
    fn nothing_is_said_of_the_speed_before_it_is_known() {
        let pace = pace(&[(0, at(0, 0, [0; 3])), (100, at(900, 0, [0; 3]))]);
        assert_eq!((pace.rate(), pace.left(), pace.slowest()), (None, None, None));
        assert_eq!(Pace::default().now(), Progress::default());
    }

    #[test]
    fn rate_and_time_left_are_of_the_last_seconds_only() {
        let pace = pace(&[(0, at(0, 0, [0; 3])), (1_000, at(5_000, 0, [0; 3])), (11_000, at(6_000, 0, [0; 3]))]);
        assert_eq!(pace.rate(), Some(100.0));
        assert_eq!(pace.left(), Some(Duration::from_secs(40)));
    }

    #[test]
    fn no_time_is_left_when_nothing_moves_or_more_came_than_was_expected() {
        assert_eq!(pace(&[(0, at(5, 0, [0; 3])), (1_000, at(5, 0, [0; 3]))]).left(), None);
        assert_eq!(pace(&[(0, at(5, 0, [0; 3])), (1_000, at(20_000, 0, [0; 3]))]).left(), None);
    }

    #[test]
    fn the_slowest_is_who_was_waited_for_most_of_the_time() {
        let slowest = |wire, waits| pace(&[(0, at(0, 0, [0; 3])), (1_000, at(9, wire, waits))]).slowest();
        assert_eq!(slowest(0, [0, 800, 100]), Some(Slowest::Source));
        assert_eq!(slowest(9, [800, 850, 100]), Some(Slowest::Wire));
        assert_eq!(slowest(9, [100, 850, 100]), Some(Slowest::Decoding));
        assert_eq!(slowest(9, [100, 150, 800]), Some(Slowest::Sink));
        assert_eq!(slowest(9, [300, 500, 300]), None);
    }
}
