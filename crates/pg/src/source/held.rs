//! The session that stays open from `pg-quiesce` to `pg-release`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reseed_core::register_undo;
use reseed_core::undo::{Armed, Undo};
use reseed_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::slot::by_hand;
use super::vitals::Vitals;
use crate::cluster::Cluster;
use crate::session::Session;

/// How long the server may take to end a session.
const ENDS: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A session's place: whoever takes the session out, closes it.
pub(crate) type Place = Arc<Mutex<Option<Session>>>;

/// On the board between the two stages.
#[derive(Debug)]
pub(super) struct Held {
    pub place: Place,
    /// The undo that ends the session.
    pub armed: Armed,
    pub vitals: Vitals,
    pub major: u32,
}

/// The name under which a run's session shows itself.
pub(super) fn application(run: &str) -> String {
    format!("reseed-{run}")
}

/// Ends a run's session, and with it the backup that it began: closes our side, then makes sure that
/// the server's side is gone, which a long checkpoint would keep alive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndSession {
    /// Where this process has it; another one has no place for it.
    #[serde(skip)]
    pub place: Place,
    #[serde(with = "crate::cluster::by_name")]
    pub cluster: Arc<Cluster>,
    pub application: String,
}

register_undo!("pg-end-session", EndSession);

#[async_trait]
impl Undo for EndSession {
    fn describe(&self) -> String {
        format!("end the session {} on {}", self.application, self.cluster.name)
    }

    fn by_hand(&self) -> String {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
            self.application
        );
        by_hand(&self.cluster, &sql)
    }

    async fn undo(&self) -> Result<()> {
        let session = self.place.lock().await.take();
        if let Some(session) = session {
            session.close().await;
        }
        let session = Session::connect(&self.cluster, "reseed undo").await?;
        let ended = end(&session, &self.application).await;
        session.close().await;
        ended
    }
}

async fn end(session: &Session, application: &str) -> Result<()> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name = $1 AND pid <> pg_backend_pid()";
    let until = Instant::now() + ENDS;
    while !session.rows(sql, &[&application]).await?.is_empty() {
        if Instant::now() > until {
            return Err(Error::failed(format!("the session {application} is still there")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
