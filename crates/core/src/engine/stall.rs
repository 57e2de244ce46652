//! Notices that streams flow no more.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Period;
use crate::event::Progress;
use crate::stage::{Meters, Run};
use crate::{Error, Kind};

/// How often it is looked, within one limit.
const LOOKS: u32 = 20;

/// Resolves when no byte has moved for the run's limit while a stream flowed into the stage at `index`.
pub(super) async fn stalled(run: &Run, index: usize) -> Error {
    let Some(limit) = run.stall else { return std::future::pending().await };
    let (before, now) = still(&run.meters, limit).await;
    let text = format!("no byte has moved for {}: {}", Period(limit), waited_for(run, index, &before, &now));
    Error::failed(text).hint("see what that end is doing; `stall = \"…\"` at the top of the file allows for longer")
}

/// Waits until nothing has moved for so long. Gives the counts at the beginning and at the end of it.
async fn still(meters: &Meters, limit: Duration) -> (Progress, Progress) {
    let mut seen = (Instant::now(), meters.progress(), meters.sink.bytes());
    loop {
        tokio::time::sleep(limit / LOOKS).await;
        let (now, sunk) = (meters.progress(), meters.sink.bytes());
        let (since, before, sunk_before) = &seen;
        let moved = now.stream_bytes + now.wire_bytes + sunk > before.stream_bytes + before.wire_bytes + sunk_before;
        if moved || !meters.flows() {
            seen = (Instant::now(), now, sunk);
        } else if since.elapsed() >= limit {
            return (*before, now);
        }
    }
}

/// Which end was waited for meanwhile.
fn waited_for(run: &Run, index: usize, before: &Progress, now: &Progress) -> String {
    let wire = now.wire_wait.saturating_sub(before.wire_wait);
    let stream = now.stream_wait.saturating_sub(before.stream_wait);
    let sink = now.sink_wait.saturating_sub(before.sink_wait);
    let (source, taker) = (source(run, index), run.stages[index].name());
    // Waits are counted when they end: one that lasts all the time is in neither count.
    if sink == stream {
        return format!("none between {source} and {taker}");
    }
    if sink > stream {
        return format!("{taker} takes none");
    }
    match now.wire_bytes {
        0 => format!("{source} gives none"),
        _ if wire >= stream / 2 => format!("{source}, or the wire, gives none"),
        _ => "what decodes the stream gives none".to_owned(),
    }
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
