//! The WAL sender that the old standby holds on its primary: it is free once that standby has stopped.

use reseed_core::Result;
use reseed_core::stage::CheckCx;
use serde::Deserialize;

use super::postmaster::Status;
use super::survey::{Old, Standby};

/// A WAL sender of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The name by which its receiver shows itself.
    pub(crate) application: String,
    /// The role that it connected as.
    pub(crate) user: String,
    /// The slot that it uses.
    pub(crate) slot: Option<String>,
}

/// What the old standby says of its receiver.
#[derive(Debug, Deserialize)]
struct Receiver {
    streams: bool,
    cluster_name: String,
}

const RECEIVER: &str = "SELECT json_build_object('cluster_name', current_setting('cluster_name'), \
     'streams', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'))";

/// Whether one of these is the old standby's own.
///
/// # Errors
/// When the standby runs and can't be asked.
pub(crate) async fn is_freed(senders: &[Sender], cx: &CheckCx) -> Result<bool> {
    let Some(standby) = cx.board().get::<Standby>() else { return Ok(false) };
    let (Some(old), Some(server)) = (&standby.old, &standby.server) else { return Ok(false) };
    let Some(running) = &old.postmaster else { return Ok(false) };
    if let Some(slot) = &old.slot {
        return Ok(senders.iter().any(|sender| sender.slot.as_ref() == Some(slot)));
    }
    if running.status != Status::Ready {
        return Ok(false);
    }
    let receiver: Receiver = server.ask_one(running, RECEIVER).await?;
    Ok(receiver.streams && senders.iter().any(|sender| fits(sender, old, &receiver.cluster_name)))
}

/// Without a slot only the names tell. A receiver shows the name that its connection string says, or
/// else that of its cluster, or `walreceiver`.
fn fits(sender: &Sender, old: &Old, cluster_name: &str) -> bool {
    let said = |key: &str| old.upstream.as_ref().and_then(|upstream| upstream.get(key));
    let application = said("application_name").unwrap_or(match cluster_name {
        "" => "walreceiver",
        name => name,
    });
    let user = said("user").is_none_or(|user| user == sender.user);
    sender.slot.is_none() && user && sender.application == application
}
