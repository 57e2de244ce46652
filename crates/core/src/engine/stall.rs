//! Notices that streams flow no more.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Period;
use crate::stage::{Meters, Run};
use crate::{Error, Kind};

/// How often it is looked, within one limit.
const LOOKS: u32 = 20;

/// Resolves when no byte has moved for the run's limit while a stream flowed into the stage at `index`.
pub(super) async fn stalled(run: &Run, index: usize) -> Error {
    let Some(limit) = run.stall else { return std::future::pending().await };
    let waited = still(&run.meters, limit).await;
    let text = format!("no byte has moved for {}: {}", Period(limit), waited.blame(run, index, limit));
    Error::failed(text).hint("see what that end is doing; `stall = \"…\"` at the top of the file allows for longer")
}

/// Nanoseconds for which each point was waited for; a wait that goes on counts.
#[derive(Debug, Clone, Copy)]
struct Waits {
    wire: u64,
    stream: u64,
    pulled: u64,
    sink: u64,
}

impl Waits {
    fn now(meters: &Meters) -> Self {
        Self {
            wire: meters.wire.waited_nanos(),
            stream: meters.stream.waited_nanos(),
            pulled: meters.pulled.waited_nanos(),
            sink: meters.sink.waited_nanos(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            wire: self.wire.saturating_sub(before.wire),
            stream: self.stream.saturating_sub(before.stream),
            pulled: self.pulled.saturating_sub(before.pulled),
            sink: self.sink.saturating_sub(before.sink),
        }
    }

    /// Which end was waited for.
    fn blame(self, run: &Run, index: usize, limit: Duration) -> String {
        let long = |nanos: u64| u128::from(nanos) >= limit.as_nanos() / 2;
        let (source, taker) = (source(run, index), run.stages[index].name());
        match (long(self.sink), long(self.pulled) || long(self.stream)) {
            (false, false) => format!("none between {source} and {taker}"),
            // Of several receivers, those that wait for one that takes none wait for the stream.
            (true, _) if !long(self.stream) => format!("{taker} takes none"),
            _ if long(self.wire) => format!("{source}, or the wire, gives none"),
            _ if run.meters.wire.bytes() > 0 && long(self.stream) => "what decodes the stream gives none".to_owned(),
            _ if long(self.stream) => format!("{source} gives none"),
            _ => format!("what is between {source} and {taker} gives none"),
        }
    }
}

/// Waits until nothing has moved for so long. Gives what was waited for meanwhile.
async fn still(meters: &Meters, limit: Duration) -> Waits {
    let mut seen = (Instant::now(), moved(meters), Waits::now(meters));
    loop {
        tokio::time::sleep(limit / LOOKS).await;
        let (since, before, waits) = &seen;
        let now = moved(meters);
        if now > *before || !meters.flows() {
            seen = (Instant::now(), now, Waits::now(meters));
        } else if since.elapsed() >= limit {
            return Waits::now(meters).since(*waits);
        }
    }
}

/// Bytes that have passed any point.
fn moved(meters: &Meters) -> u64 {
    meters.stream.bytes() + meters.wire.bytes() + meters.sink.bytes()
}

/// The stage that makes the streams which the one at `index` takes.
fn source(run: &Run, index: usize) -> &str {
    let mut kind = Kind::Start;
    let mut source = "the sender";
    for stage in &run.stages[..index] {
        let Ok(gives) = stage.flow(&kind) else { break };
        if matches!(gives, Kind::Stream(_)) && !matches!(kind, Kind::Stream(_)) {
            source = stage.name();
        }
        kind = gives;
    }
    source
}
