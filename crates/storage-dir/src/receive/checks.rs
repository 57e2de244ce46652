//! What is refused before anything is touched.

use reseed_core::host::shell_quote;
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};
use reseed_pg::basebackup::{Announced, Receiver};
use reseed_storage::room::of_path;

use super::Directory;
use crate::store::{Inspection, State};

/// Judges the place, the room and the programs.
pub(super) async fn check(stage: &Directory, cx: &CheckCx) -> Result<()> {
    let announced = stage.announced(cx)?;
    let receiver = Receiver::of(&stage.cluster, cx).await?;
    let found = stage.store.inspect(receiver.live()).await?;
    let host = stage.store.host.name();
    is_free(&found, &receiver, host)?;
    can_be_renamed(&found, &receiver, host)?;
    room(stage, announced, host).await?;
    if stage.chained(announced) {
        receiver.can_combine().await?;
    }
    verified(stage, &receiver, cx).await?;
    cx.note(match stage.chained(announced) {
        true => format!("the backup is kept as it came in {}, for increments; a copy of it is made to run", found.path),
        false => format!("received in {}, and made to run as it is", found.path),
    });
    Ok(())
}

async fn verified(stage: &Directory, receiver: &Receiver, cx: &CheckCx) -> Result<()> {
    match (stage.verify, receiver.has_manifests()) {
        (true, true) => receiver.can_verify().await,
        (true, false) => {
            cx.note("backups before PostgreSQL 13 have no manifest, so what is received is not verified file by file");
            Ok(())
        }
        (false, _) => Ok(()),
    }
}

/// That the store is reseed's own, of this standby, or can become so.
fn is_free(found: &Inspection, receiver: &Receiver, host: &str) -> Result<()> {
    let (path, live) = (&found.path, receiver.live());
    let inside = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
    if inside(path, live) || inside(live, path) {
        return Err(Error::refused(format!("{path} and the data directory {live} lie one inside the other"))
            .hint(format!("take one beside it: `into = \"{live}.reseed\"`")));
    }
    if let Some(missing) = found.missing.first() {
        return Err(Error::refused(format!("there is no directory {missing} on {host}"))
            .hint(format!("mkdir -p {}", shell_quote(missing))));
    }
    match &found.state {
        State::Absent | State::Empty => Ok(()),
        State::Ours(owner) if owner == live => Ok(()),
        State::Ours(owner) => {
            let error = format!("{path} on {host} holds the backups of another standby, in {owner}");
            Err(Error::refused(error).hint(format!("take one of its own: `into = \"{live}.reseed\"`")))
        }
        State::Foreign => {
            let error = format!("{path} on {host} is not empty, and reseed did not make it");
            Err(Error::refused(error).hint(format!("look at it, then: mv {0} {0}.old", shell_quote(path))))
        }
    }
}

/// That directories can be renamed from one to the other.
fn can_be_renamed(found: &Inspection, receiver: &Receiver, host: &str) -> Result<()> {
    let live = receiver.live();
    if found.live.is_some() && found.live != found.above {
        return Err(Error::refused(format!("{live} on {host} is a mount point, which can't be renamed"))
            .hint("move the data into a directory below it, and set `data_directory` of the standby to that"));
    }
    if found.above.as_ref() != Some(&found.device) {
        let path = &found.path;
        return Err(Error::refused(format!("{path} on {host} is on another file system than {live}"))
            .hint(format!("take one beside the data directory: `into = \"{live}.reseed\"`")));
    }
    let Some(closed) = found.closed.first() else { return Ok(()) };
    let user = receiver.user();
    Err(Error::refused(format!("no right to make and rename directories in {closed} on {host}")).hint(format!(
        "chown {user} {}, or run reseed as root there (`become = \"sudo\"` in [hosts])",
        shell_quote(closed)
    )))
}

/// That there is room for what will come: once, and once more where it is kept as it came.
async fn room(stage: &Directory, announced: Announced, host: &str) -> Result<()> {
    let copies = if stage.chained(announced) && !announced.incremental { 2 } else { 1 };
    let path = &stage.store.path;
    let room = of_path(&stage.store.host, path).await?;
    let needed = announced.bytes.map(|bytes| bytes.saturating_mul(copies));
    let make_room = match copies {
        1 => format!("df -h {}", shell_quote(path)),
        _ => "keep_increments = 0` in the stage dir-receive, or see `df -h".to_owned(),
    };
    stage.min_free.check(&format!("the file system of {path} on {host}"), room, needed, &make_room)
}
