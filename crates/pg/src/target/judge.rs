//! Whether the target may be replaced.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::control_file::ControlFile;
use super::postmaster::Postmaster;
use super::survey::{Old, Standby, answers};
use crate::cluster::Primary;
use crate::facts::Source;

/// Said by a stage while surveying: what was last a primary may be replaced, if it does not run.
#[derive(Debug)]
pub(crate) struct AllowPrimary;

/// The stage that judges the target for all: the first one that works on it.
#[derive(Debug)]
struct Judge(String);

/// Called by every stage of the target while surveying, which is done in order.
pub(crate) fn claim(cx: &CheckCx) {
    if cx.board().get::<Judge>().is_none() {
        cx.board().put(Judge(cx.name().to_owned()));
    }
}

/// Refuses a target that must not be replaced. Every stage of the target asks; the first one is answered.
///
/// # Errors
/// A refusal.
pub(crate) async fn judge(standby: &Standby, cx: &CheckCx) -> Result<()> {
    if cx.board().get::<Judge>().is_some_and(|judge| judge.0 != cx.name()) {
        return Ok(());
    }
    if let Some(server) = &standby.server {
        server.can_be_controlled().await?;
    }
    let source = cx.board().get::<Source>();
    if let Some(source) = &source {
        not_the_source(standby, source, cx).await?;
    }
    let Some(old) = &standby.old else { return Ok(()) };
    is_a_copy(standby, old, source.as_deref())?;
    is_no_primary(standby, old, cx.board().get::<AllowPrimary>().is_some())?;
    answers(standby).await
}

/// That the data is a copy of the same cluster.
fn is_a_copy(standby: &Standby, old: &Old, source: Option<&Source>) -> Result<()> {
    let Some(source) = source.filter(|source| source.system_identifier != old.control.system_identifier) else {
        return Ok(());
    };
    let (theirs, ours) = (old.control.system_identifier, source.system_identifier);
    let place = place(standby);
    Err(Error::refused(format!("{place} is another cluster: its system identifier is {theirs}, the primary's {ours}"))
        .hint(format!("if it is of no use any more: mv {0} {0}.old", standby.data_directory)))
}

fn is_no_primary(standby: &Standby, old: &Old, allowed: bool) -> Result<()> {
    if old.is_standby() || (allowed && old.postmaster.is_none()) {
        return Ok(());
    }
    let (place, state) = (place(standby), old.control.state.words());
    if old.postmaster.is_some() {
        let stop =
            standby.server.as_ref().map(|server| format!("; to replace a former primary: {}", server.stop_by_hand()));
        return Err(Error::refused(format!("the server of {place} is a primary ({state})"))
            .hint(format!("name the standby's data directory{}", stop.unwrap_or_default())));
    }
    Err(Error::refused(format!("{place} was a primary when it was last up ({state}, no standby.signal)"))
        .hint("if it may be replaced, add `allow_primary = true` to the stage pg-configure"))
}

/// That the target is not the very directory that is copied.
async fn not_the_source(standby: &Standby, source: &Source, cx: &CheckCx) -> Result<()> {
    let Some(primary) = cx.board().get::<Primary>() else { return Ok(()) };
    if source.layout.data_directory != standby.real_directory {
        return Ok(());
    }
    if primary.0.host.machine().await? != standby.cluster.host.machine().await? {
        return Ok(());
    }
    let error = format!("{} is the primary's own data directory", place(standby));
    Err(Error::refused(error).hint("set `data_directory` of the standby to its own"))
}

/// That the target has not become a primary, or another cluster, since it was surveyed. Asked right
/// before it is stopped.
///
/// # Errors
/// When it has.
pub(crate) async fn still_a_standby(standby: &Standby, cx: &CheckCx) -> Result<()> {
    let Some(before) = &standby.old else { return Ok(()) };
    let host = standby.cluster.host.as_ref();
    let now = Old {
        control: ControlFile::read(host, &standby.data_directory).await?,
        postmaster: Postmaster::look(host, &standby.data_directory).await?,
        ..before.clone()
    };
    if now.control.system_identifier != before.control.system_identifier {
        let id = now.control.system_identifier;
        let error = format!("{} has become another cluster meanwhile ({id})", place(standby));
        return Err(Error::failed(error).hint("nothing was stopped; see who put it there"));
    }
    let allowed = cx.board().get::<AllowPrimary>().is_some();
    is_no_primary(standby, &now, allowed).map_err(|e| Error::failed(e.to_string()).hint("nothing was stopped"))?;
    answers(&Standby { old: Some(now), ..standby.clone() }).await
}

/// The data directory and its machine.
pub(crate) fn place(standby: &Standby) -> String {
    format!("{} on {}", standby.data_directory, standby.cluster.host.name())
}
