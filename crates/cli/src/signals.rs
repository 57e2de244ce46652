//! Ctrl-C, SIGTERM and SIGHUP.

use std::convert::Infallible;

use reseed_core::engine::Engine;
use reseed_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::observe::Speaker;

/// The signals that end a run; caught from the moment this is made. What whoever started reseed has it
/// ignore, it ignores: `nohup` means that the run outlives its terminal.
pub(crate) struct Signals {
    all: Vec<Signal>,
}

impl Signals {
    /// Catches them. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system refuses to.
    pub(crate) fn catch() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let heeded = kinds.into_iter().filter(|kind| !is_ignored(*kind, &status));
        Ok(Self { all: heeded.map(signal).collect::<Result<_, _>>()? })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        std::future::poll_fn(|cx| match self.all.iter_mut().any(|signal| signal.poll_recv(cx).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }

    /// The first one gives up taking back. Goes on until it is dropped.
    pub(crate) async fn give_up(&mut self, stop: &CancellationToken, speaker: &Speaker) -> Infallible {
        self.next().await;
        speaker.say("giving up taking back");
        stop.cancel();
        std::future::pending().await
    }

    /// The first one cancels the run, the second one the undo as well. Goes on until it is dropped.
    pub(crate) async fn steer(mut self, engine: &Engine, speaker: &Speaker) -> Infallible {
        self.next().await;
        speaker.say("cancelling: what was done is taken back; once more stops that too and prints what is left");
        engine.cancel_token().cancel();
        self.next().await;
        speaker.say("giving up taking back");
        engine.stop_undo_token().cancel();
        std::future::pending().await
    }
}

/// Whether a signal is ignored, by what Linux tells of a process; elsewhere none counts as ignored.
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Checks what the engine would run. A signal ends that; then nothing has been touched either.
///
/// # Errors
/// The refusals, or what says that it was cancelled.
pub(crate) async fn check(engine: &Engine) -> Result<(), Vec<Error>> {
    let mut signals = Signals::catch().map_err(|error| vec![error.into()])?;
    let cancel = async {
        signals.next().await;
        engine.cancel_token().cancel();
        std::future::pending().await
    };
    tokio::select! {
        checked = engine.check() => checked,
        () = cancel => Err(vec![Error::cancelled()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_mask() {
        let status = "Name:\treseed\nSigIgn:\t0000000000001001\nSigCgt:\tffffffffffffffff\n";
        let ignored = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()]
            .map(|kind| is_ignored(kind, status));
        assert_eq!(ignored, [true, false, false]);
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
