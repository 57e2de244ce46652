//! Ctrl-C, SIGTERM and SIGHUP.

use std::convert::Infallible;

use reseed_core::engine::Engine;
use reseed_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::observe::Speaker;

/// The signals that end a run; caught from the moment this is made.
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
        Ok(Self { all: kinds.into_iter().map(signal).collect::<Result<_, _>>()? })
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
