//! Refusals that several stages share.

use reseed_core::config::{BuildCx, Located, Problem};
use reseed_core::host::Command;
use reseed_core::{Error, Result};

use crate::name;
use crate::parse::Snapshot;
use crate::zfs::{Allowed, Zfs};

/// Everything that the sending side's user needs, for the hint.
const SENDER: &str = "snapshot,send,hold,release,bookmark,destroy,mount,userprop";
/// Everything that the receiving side's user needs, for the hint.
const RECEIVER: &str = "create,receive,clone,promote,rename,rollback,destroy,mount,mountpoint,canmount,readonly,\
                        setuid,userprop,hold,release";

/// Refuses unless the host's user may snapshot, send and destroy what it made.
pub(crate) async fn may_send(zfs: &Zfs, dataset: &str, needed: &[&str]) -> Result<()> {
    may(zfs, dataset, needed, SENDER).await
}

/// Refuses unless the host's user may receive below a dataset.
pub(crate) async fn may_receive(zfs: &Zfs, dataset: &str) -> Result<()> {
    let properties = ["mountpoint", "canmount", "readonly", "setuid", "userprop"];
    let needed = [["create", "receive", "mount", "rollback", "destroy"], properties].concat();
    may(zfs, dataset, &needed, RECEIVER).await
}

async fn may(zfs: &Zfs, dataset: &str, needed: &[&str], all: &str) -> Result<()> {
    match zfs.allowed(dataset, needed).await? {
        Allowed::All => Ok(()),
        Allowed::Lacks { user, rights } => {
            let (host, rights) = (zfs.host().name(), rights.join(", "));
            let error = Error::refused(format!("{user} has no right on {dataset} on {host} to: {rights}"));
            Err(error.hint(format!("zfs allow -u {user} {all} {dataset}")))
        }
    }
}

/// Refuses unless file systems can be mounted, which on Linux takes root whatever was delegated.
pub(crate) async fn may_mount(zfs: &Zfs) -> Result<()> {
    let system = zfs.host().run(Command::new("uname").arg("-s")).await?;
    if system.trim() != "Linux" || zfs.is_root().await? {
        return Ok(());
    }
    let user = zfs.host().run(Command::new("id").arg("-un")).await?;
    let (host, user) = (zfs.host().name(), user.trim());
    let error = Error::refused(format!("only root may mount file systems on {host}"));
    Err(error.hint(format!(
        "run reseed as root there, or add `become = \"sudo\"` to [hosts.{host}] (for this machine, with \
         `use = \"local\"`) and the line `{user} ALL=(ALL) NOPASSWD: ALL` to /etc/sudoers.d/reseed there"
    )))
}

/// The nearest dataset above this one, or itself, that is there.
pub(crate) async fn nearest_existing(zfs: &Zfs, dataset: &str) -> Result<Option<String>> {
    let mut next = Some(dataset);
    while let Some(name) = next {
        if zfs.exists(name).await? {
            return Ok(Some(name.to_owned()));
        }
        next = name::parent(name);
    }
    Ok(None)
}

/// Refuses unless the pool of a dataset is there; gives the nearest existing dataset.
pub(crate) async fn existing_above(zfs: &Zfs, dataset: &str) -> Result<String> {
    let (pool, host) = (name::pool(dataset), zfs.host().name());
    let missing = || {
        let error = Error::refused(format!("there is no pool {pool} on {host}"));
        error.hint("see which there are: `zpool list`; one may have to be imported: `zpool import`")
    };
    nearest_existing(zfs, dataset).await?.ok_or_else(missing)
}

/// What makes way for a new copy: the commands, between backquotes.
pub(crate) async fn makes_way(zfs: &Zfs, dataset: &str) -> Result<String> {
    let mut commands = vec![];
    for one in zfs.filesystems(dataset).await? {
        let held = zfs.snapshots(&one.name).await?.into_iter().filter(Snapshot::held);
        commands.extend(held.map(|snapshot| format!("zfs release TAG {}", snapshot.name)));
    }
    commands.push(format!("zfs destroy -r {dataset}"));
    let tags = if commands.len() > 1 { " (`zfs holds` tells the tags)" } else { "" };
    Ok(format!("`{}`{tags}", commands.join("; ")))
}

/// A dataset's name from the file, or a problem at its place.
pub(crate) fn dataset(name: &Located<String>, cx: &mut BuildCx<'_>) -> Option<String> {
    match name::wrong_dataset(name) {
        None => Some(name.to_string()),
        Some(why) => {
            let problem = Problem::at(name.span(), format!("`{}` is no name of a dataset: {why}", **name));
            cx.problem(problem.hint("written like \"pool/name\""));
            None
        }
    }
}

/// A map of datasets from the file, or problems at their places.
pub(crate) fn map(
    map: std::collections::BTreeMap<String, Located<String>>,
    cx: &mut BuildCx<'_>,
) -> Option<std::collections::BTreeMap<String, String>> {
    let mut whole = true;
    let mut good = std::collections::BTreeMap::new();
    for (source, target) in map {
        if let Some(why) = name::wrong_dataset(&source) {
            cx.problem(Problem::at(target.span(), format!("`{source}` is no name of a dataset: {why}")));
            whole = false;
        }
        match dataset(&target, cx) {
            Some(target) => {
                good.insert(source, target);
            }
            None => whole = false,
        }
    }
    whole.then_some(good)
}
