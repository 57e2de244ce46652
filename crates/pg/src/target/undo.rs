//! How stopping and starting servers is taken back.

use std::time::Duration;

use async_trait::async_trait;
use reseed_core::register_undo;
use reseed_core::undo::Undo;
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::log::Mark;
use super::postmaster::Status;
use crate::service::{Server, StopMode};

/// The file in a data directory that names the run which put it there.
const MARK: &str = "reseed.run";
/// How long a server that should be up is watched, in case it has just been told to stop.
const WATCH: Duration = Duration::from_millis(300);

/// Notes in a data directory which run put it there, so that an undo never takes it for another.
///
/// # Errors
/// When the file can't be written.
pub(crate) async fn mark(server: &Server, data_directory: &str, run: &str) -> Result<()> {
    let path = format!("{data_directory}/{MARK}");
    server.host.files().write(&path, format!("{run}\n").as_bytes(), 0o600).await
}

/// Starts the old server again and waits until it answers, whatever half-way state it is in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartAgain {
    /// The server as it was.
    pub(crate) server: Server,
    /// How long its stop, and its start, may take.
    pub(crate) timeout: Duration,
}

register_undo!("pg-start-again", StartAgain);

#[async_trait]
impl Undo for StartAgain {
    fn describe(&self) -> String {
        format!("start the server in {} on {} again", self.server.data_directory, self.server.host.name())
    }

    fn by_hand(&self) -> String {
        self.server.start_by_hand(self.timeout)
    }

    fn deadline(&self) -> Duration {
        self.timeout * 2 + Duration::from_secs(30)
    }

    async fn undo(&self) -> Result<()> {
        let server = &self.server;
        if let Some(running) = server.look().await? {
            // A stop that was under way when the run ended may only just reach the server.
            tokio::time::sleep(WATCH).await;
            let now = server.look().await?;
            let stays = now.as_ref().is_some_and(|now| now.pid == running.pid && now.status != Status::Stopping);
            if stays {
                return server.answering(self.timeout).await.map(drop);
            }
            if !running.gone(server.host.as_ref(), &server.data_directory, self.timeout).await? {
                return Err(Error::failed("the server neither stops nor stays"));
            }
        }
        let mark = Mark::of(server).await?;
        server.raise(&mark, self.timeout).await?.settled.await;
        Ok(())
    }
}

/// Stops the server that a run has started on its copy. The old server, which has the same data
/// directory once it is back, is never stopped by this.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StopNew {
    /// The server.
    pub(crate) server: Server,
    /// The run that put the copy there.
    pub(crate) run: String,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

register_undo!("pg-stop-new", StopNew);

#[async_trait]
impl Undo for StopNew {
    fn describe(&self) -> String {
        format!("stop the new server in {} on {}", self.server.data_directory, self.server.host.name())
    }

    fn by_hand(&self) -> String {
        self.server.stop_by_hand()
    }

    fn deadline(&self) -> Duration {
        self.timeout * 2 + Duration::from_secs(30)
    }

    async fn undo(&self) -> Result<()> {
        let path = format!("{}/{MARK}", self.server.data_directory);
        let owner = self.server.host.files().read_text(&path).await?.unwrap_or_default();
        if owner.trim() != self.run {
            return Ok(());
        }
        // The copy is thrown away, so a server that is slow to stop need not end well.
        let Some(running) = self.server.look().await? else { return Ok(()) };
        match self.server.halt(&running, StopMode::Fast, self.timeout).await {
            Err(_) if self.server.service.has_stop_modes() => {
                self.server.halt(&running, StopMode::Immediate, self.timeout).await
            }
            done => done,
        }
    }
}
