//! What the check saw, seen once more right before the old standby is stopped: an hour of transfer may
//! lie between.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::configure::{Configured, Kept, kept, settings};
use super::judge::still_a_standby;

use super::proof::Goal;
use super::staged::{Reached, is_staged, primary};
use super::survey::{Standby, still_there};
use super::values;
use crate::facts::Source;
use crate::session::Session;
use crate::source::{Vitals, minimum_settings};

/// The hint of each refusal here.
const NOTHING_STOPPED: &str = "nothing was stopped; run it again";

/// That the target may still be replaced, and by this copy. `copy` is where its data directory is now,
/// as soon as there is one.
///
/// # Errors
/// What has changed since it was checked.
pub(crate) async fn seen_again(standby: &Standby, source: &Source, copy: Option<&str>, cx: &CheckCx) -> Result<()> {
    still_there(standby).await?;
    still_a_standby(standby, cx).await?;
    if let Some(kept) = cx.board().get::<Kept>() {
        kept::unchanged(standby, &kept.0).await?;
    }
    same_primary(standby, source, copy, cx).await
}

/// That the primary is the one that was surveyed, on its timeline, and that the copy is configured for no
/// less than the primary has now.
///
/// # Errors
/// When it is not, or can't be asked: then this is no time to stop a standby.
pub(crate) async fn same_primary(standby: &Standby, source: &Source, copy: Option<&str>, cx: &CheckCx) -> Result<()> {
    let Some(primary) = primary(cx.board()) else { return Ok(()) };
    let session = match Session::connect(&primary, "reseed switch").await {
        Err(_) if Goal::of(cx.board()) == Goal::Consistent => return Ok(()),
        session => session.map_err(|error| error.context("the primary can't be asked whether it is still the one"))?,
    };
    let asked = ask(&session, source.version).await;
    session.close().await;
    let (vitals, minimum) = asked?;
    unchanged(vitals, source, cx).map_err(|error| Error::failed(error.chain()).hint(NOTHING_STOPPED))?;
    match copy.filter(|_| minimum != source.minimum_settings) {
        Some(copy) => high_enough(standby, copy, &Source { minimum_settings: minimum, ..source.clone() }, cx).await,
        None => Ok(()),
    }
}

async fn ask(session: &Session, version: u32) -> Result<(Vitals, Vec<(String, i64)>)> {
    Ok((Vitals::read(session).await?, minimum_settings(session, version).await?))
}

/// Compares with what was surveyed: by the stage that works on the primary, or, of a copy from a
/// repository, when the primary was asked whether it can be followed.
fn unchanged(now: Vitals, source: &Source, cx: &CheckCx) -> Result<()> {
    if let Some(before) = cx.board().get::<Vitals>() {
        return now.unchanged_since(*before);
    }
    let timeline = match (is_staged(cx.board()), cx.board().get::<Reached>()) {
        (false, _) => source.timeline,
        (true, Some(reached)) => reached.timeline,
        (true, None) => return Ok(()),
    };
    now.unchanged_since(Vitals { system_identifier: source.system_identifier, timeline, ..now })
}

async fn high_enough(standby: &Standby, copy: &str, source: &Source, cx: &CheckCx) -> Result<()> {
    let (Some(server), Some(configured)) = (&standby.server, cx.board().get::<Configured>()) else { return Ok(()) };
    let names: Vec<_> = source.minimum_settings.iter().map(|(name, _)| name.clone()).collect();
    let read = values::read(server, copy, configured.config_file.as_deref(), &names).await?;
    settings::high_enough(&read, source)
}
