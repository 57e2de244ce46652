//! The stage `throttle`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep_until};

use super::passing::passing;
use crate::Result;
use crate::config::{BuildCx, Located, Problem, Rate};
use crate::item::Pass;
use crate::register_stage;
use crate::registry::StageConfig;
use crate::stage::Stage;
use crate::stream::{BoxStream, ByteStream};

/// Limits how fast streams flow. Behind `zstd` it limits what crosses the wire, in front of it what
/// is read from the source.
///
/// It works by pulling slowly, in this process: the machine that sends is slowed down by that, and
/// holds what its pipes and the connection hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThrottleConfig {
    /// Bytes per second, as in `20MiB/s`, or bits, as in `100Mbit/s`. Without it there is no limit
    /// outside of the schedule.
    #[serde(default)]
    rate: Option<Rate>,
    /// Other rates at certain hours, in the local time of the machine that reseed runs on. The first
    /// one that covers the time is used, also while a stream flows.
    #[serde(default)]
    schedule: Vec<Located<HoursConfig>>,
}

/// A rate at certain hours of every day.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HoursConfig {
    /// When it begins: `08:00`.
    from: TimeOfDay,
    /// When it ends: `18:00`. Earlier than `from` means on the next day.
    to: TimeOfDay,
    /// Bytes per second in these hours.
    rate: Rate,
}

register_stage!(ThrottleConfig);

const NAME: &str = "throttle";

impl StageConfig for ThrottleConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        if self.rate.is_none() && self.schedule.is_empty() {
            let problem = Problem::of_all("throttle without a `rate` and without a `schedule` limits nothing");
            cx.problem(problem.hint("give it one, as in `rate = \"20MiB/s\"`"));
            return None;
        }
        let mut fine = true;
        for hours in self.schedule.iter().filter(|hours| hours.from == hours.to) {
            let problem = Problem::at(hours.span(), "these hours end when they begin");
            cx.problem(problem.hint("for the whole day, set the stage's own `rate`"));
            fine = false;
        }
        let hours = |hours: &Located<HoursConfig>| Hours { from: hours.from, to: hours.to, rate: hours.rate };
        fine.then(|| throttle(self.rate, self.schedule.iter().map(hours).collect()))
    }
}

/// Limits how fast streams flow: to `rate`, and to another one at certain hours, of which the first
/// that covers the local time counts.
pub fn throttle(rate: Option<Rate>, schedule: Vec<Hours>) -> Arc<dyn Stage> {
    passing(NAME, Limits { rate, schedule: schedule.into() })
}

/// A rate at certain hours of every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends; earlier than `from` means on the next day.
    pub to: TimeOfDay,
    /// The rate in between.
    pub rate: Rate,
}

impl Hours {
    fn cover(&self, time: TimeOfDay) -> bool {
        match self.from < self.to {
            true => self.from <= time && time < self.to,
            false => self.from <= time || time < self.to,
        }
    }
}

/// Hour and minute: `08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// The time now where this process runs.
    fn now() -> Self {
        let now = jiff::ZonedDateTime::now();
        Self(now.hour() as u16 * 60 + now.minute() as u16)
    }
}

impl FromStr for TimeOfDay {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str, below: u16| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number < below)
        };
        let parsed = text.split_once(':').and_then(|(h, m)| Some(number(h, 24)? * 60 + number(m, 60)?));
        parsed.map(Self).ok_or("a time of day is written like `08:00`, from `00:00` to `23:59`")
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["08:00", "23:30"] })
    }
}

#[derive(Debug, Clone)]
struct Limits {
    rate: Option<Rate>,
    schedule: Arc<[Hours]>,
}

impl Limits {
    fn at(&self, time: impl FnOnce() -> TimeOfDay) -> Option<Rate> {
        if self.schedule.is_empty() {
            return self.rate;
        }
        let time = time();
        let hours = self.schedule.iter().find(|hours| hours.cover(time));
        hours.map(|hours| hours.rate).or(self.rate)
    }
}

impl Pass for Limits {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        Box::new(Throttled { stream, limits: self.clone(), rest: Bytes::new(), free: None })
    }
}

/// What is let through at once, as a part of a second: small enough to flow evenly.
const PARTS: u64 = 20;
/// What was not used may be made up for by so much.
const BURST: Duration = Duration::from_millis(100);

struct Throttled {
    stream: BoxStream,
    limits: Limits,
    /// Pulled, and not let through yet.
    rest: Bytes,
    /// When the next piece may pass.
    free: Option<Instant>,
}

#[async_trait]
impl ByteStream for Throttled {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            match self.stream.next().await? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(None),
            }
        }
        let Some(rate) = self.limits.at(TimeOfDay::now) else { return Ok(Some(std::mem::take(&mut self.rest))) };
        if let Some(free) = self.free {
            sleep_until(free).await;
        }
        let most = usize::try_from((rate.get() / PARTS).max(1)).unwrap_or(usize::MAX);
        let piece = self.rest.split_to(self.rest.len().min(most));
        let now = Instant::now();
        let since = self.free.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
        self.free = Some(since + Duration::from_secs_f64(piece.len() as f64 / rate.get() as f64));
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Chunks, collect};

    fn time(text: &str) -> TimeOfDay {
        text.parse().unwrap()
    }

    fn rate(bytes: u64) -> Rate {
        Rate::per_second(bytes).unwrap()
    }

    #[test]
    fn the_schedule_counts_at_its_hours_also_over_midnight() {
        let hours = |from, to, bytes| Hours { from: time(from), to: time(to), rate: rate(bytes) };
        let schedule = vec![hours("08:00", "18:00", 5), hours("22:00", "06:00", 7), hours("05:00", "09:00", 9)];
        let limits = Limits { rate: Some(rate(1)), schedule: schedule.into() };
        let at = |text| limits.at(|| time(text)).unwrap().get();
        let told = ["07:59", "08:00", "17:59", "18:00", "22:00", "23:59", "00:00", "05:59", "06:00"].map(at);
        assert_eq!(told, [9, 5, 5, 1, 7, 7, 7, 7, 9]);
        assert_eq!(Limits { rate: None, ..limits }.at(|| time("19:00")), None);
    }

    #[test]
    fn a_time_of_day_is_hour_and_minute() {
        assert_eq!(time("08:05").to_string(), "08:05");
        for text in ["8:00", "24:00", "12:60", "1200", "12:0", "+1:00", "noon"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn bytes_pass_whole_and_no_faster_than_allowed() {
        let limits = Limits { rate: Some(rate(1_000_000)), schedule: [].into() };
        let begun = Instant::now();
        let stream = limits.pass(Box::new(Chunks::new(vec![vec![1; 250_000].into(), vec![2; 150_000].into()])));
        let all = collect(stream, usize::MAX).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(all, [vec![1; 250_000], vec![2; 150_000]].concat());
        assert!(took >= Duration::from_millis(240), "{took:?}");
    }
}
