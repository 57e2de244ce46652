//! Refusals that several stages share, and the judgement of what an increment starts from.

use reseed_core::config::{BuildCx, Located, Problem};
use reseed_core::{Error, Result};
use reseed_storage::directory;

use crate::btrfs::Btrfs;
use crate::table::{Seen, Table};

/// Refuses unless what is run here runs as root, which `btrfs` takes for all that is done here.
pub(crate) async fn is_root(btrfs: &Btrfs) -> Result<()> {
    if directory::is_root(btrfs.host().as_ref()).await? {
        return Ok(());
    }
    let host = btrfs.host().name();
    let error = Error::refused(format!("only root may snapshot, send and receive subvolumes on {host}"));
    Err(error.hint(format!("run reseed as root there, or add `become = \"sudo\"` to [hosts.{host}]")))
}

/// The identity of the btrfs that a path lies on, or the refusal of another file system.
pub(crate) fn filesystem<'t>(table: &'t Table, path: &str, host: &str) -> Result<&'t str> {
    table.filesystem_of(path).ok_or_else(|| {
        let kind = table.mount_of(path).map_or("no file system", |mount| mount.kind.as_str());
        let error = Error::refused(format!("{path} on {host} lies on {kind}, not on btrfs"));
        error.hint(format!("see where it lies, and write it without links: `df -T {path}`"))
    })
}

/// An absolute path from the file without a `/` at its end, or a problem at its place.
pub(crate) fn path(path: &Located<String>, cx: &mut BuildCx<'_>) -> Option<String> {
    let odd = |part: &str| matches!(part, "" | "." | "..");
    let parts = path.strip_prefix('/').map(|rest| rest.trim_end_matches('/'));
    match parts {
        Some(parts) if !parts.is_empty() && !parts.split('/').any(odd) && !parts.contains('\n') => {
            Some(format!("/{parts}"))
        }
        _ => {
            let problem = Problem::at(path.span(), format!("`{}` is no absolute path", **path));
            cx.problem(problem.hint("written like \"/data/reseed\""));
            None
        }
    }
}

/// The subvolume of a file system that `btrfs receive` takes as the parent of this identity: the one
/// that was received from it, else the one itself. `None` where there is none.
///
/// # Errors
/// A refusal where there is no telling which one it would take.
pub(crate) fn parent<'t>(table: &'t Table, filesystem: &'t str, identity: &str) -> Result<Option<&'t Seen>> {
    let all = table.of(filesystem);
    let received = |seen: &&&Seen| seen.subvolume.received.as_deref() == Some(identity);
    let mut copies = all.iter().filter(received);
    match (copies.next(), copies.next()) {
        (Some(one), Some(other)) => {
            let (one, other) = (&one.path, &other.path);
            let error = Error::failed(format!(
                "{one} and {other} both say that they were received as {identity}, so an increment might start from \
                 the wrong one"
            ));
            Err(error.hint(format!(
                "a read-only snapshot of a received subvolume, or one that a restore made, takes over the received \
                 UUID: delete the one that is no copy, for example `btrfs subvolume delete {other}`"
            )))
        }
        (Some(one), None) => Ok(Some(one)),
        _ => Ok(all.into_iter().find(|seen| seen.subvolume.uuid == identity)),
    }
}

/// Refuses an increment that would start from a subvolume that is not what its identity says: one
/// that is writable, or was written to after it was complete.
pub(crate) async fn pristine(btrfs: &Btrfs, table: &Table, seen: &Seen) -> Result<()> {
    let (path, host) = (&seen.path, btrfs.host().name());
    let refusal = |why: &str| {
        let error = Error::failed(format!("{path} on {host} {why}, so no increment can start from it"));
        error.hint(format!("if it can go, so that an older one or the whole is sent: `btrfs subvolume delete {path}`"))
    };
    if !seen.subvolume.readonly {
        return Err(refusal("is writable"));
    }
    let Some(mount) = table.mount_of(path) else { return Ok(()) };
    let roots = btrfs.roots(path, &mount.device).await?;
    let Some(root) = roots.iter().find(|root| root.id == seen.subvolume.id) else {
        return Err(Error::failed(format!("btrfs on {host} does not tell when {path} was changed")));
    };
    if root.was_changed() {
        return Err(refusal("was made writable and changed after it was complete"));
    }
    Ok(())
}
