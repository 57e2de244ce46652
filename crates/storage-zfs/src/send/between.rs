//! The snapshots between the base and the one that is sent.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::ask_estimate;
use super::flags::RAW;
use crate::layout::Layout;
use crate::parse::{Said, Snapshot};
use crate::prune::Anchor;
use crate::shared::Anchored;
use crate::zfs::Zfs;

/// Refuses what can never bring them: a bookmark as an anchor, and a key that may not ask for them.
pub(super) async fn check(zfs: &Zfs, layout: &Layout, raw: bool, cx: &CheckCx) -> Result<()> {
    if cx.board().get::<Anchored>().is_some_and(|anchored| anchored.0 == Anchor::Bookmark) {
        let error = Error::refused("`zfs send -I` starts from a snapshot, and only a bookmark stays of the last one");
        return Err(error.hint("leave out `anchor = \"bookmark\"` or `intermediary = true`"));
    }
    if !zfs.features().await?.estimate {
        return Ok(());
    }
    for part in &layout.parts {
        let snapshots = zfs.snapshots(&part.dataset).await?;
        let mut snapshots = snapshots.iter().filter(|one| !one.is_bookmark()).map(|one| one.name.as_str());
        let (Some(other), Some(one)) = (snapshots.next_back(), snapshots.next_back()) else { continue };
        let flags: &[_] = if raw { &["send", "-n", "-P", RAW, "-I"] } else { &["send", "-n", "-P", "-I"] };
        let (dry, host) = (zfs.run(flags, &[one, other]).await, zfs.host().name());
        // What others have destroyed meanwhile is no reason.
        if let Err(why) = dry
            && why.said() != Some(Said::NotThere)
        {
            let error = Error::refused(format!("several snapshots of {} can't be sent", part.dataset)).because(why);
            return Err(
                error.hint(format!("if the key for {host} is bound, print its line anew: reseed guard --print FILE"))
            );
        }
    }
    Ok(())
}

/// What they are expected to be, in bytes.
pub(super) async fn size(zfs: &Zfs, base: &Snapshot, last: &Snapshot) -> Option<u64> {
    let command = Zfs::command(&["send", "-n", "-P", "-I"], &[&base.name, &last.name]).ok()?;
    ask_estimate(zfs, command).await
}

/// Those, oldest first. None where the base is a bookmark: `zfs send -I` takes a snapshot alone.
pub(super) fn between<'s>(mine: &'s [Snapshot], base: &Snapshot, sent: Option<&str>) -> Vec<&'s Snapshot> {
    let snapshots = || mine.iter().filter(|one| !one.is_bookmark());
    let newer = snapshots().skip_while(|one| one.name != base.name).skip(1);
    let newer = newer.take_while(|one| Some(one.guid.as_str()) != sent);
    // What is not there is no end: all would be between.
    match sent.is_none_or(|sent| snapshots().any(|one| one.guid == sent)) {
        true => newer.collect(),
        false => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_than_the_base_and_older_than_the_new_one_is_between() {
        let snapshot = |name: &str, guid: &str| Snapshot {
            name: format!("ta/a{name}"),
            guid: guid.into(),
            target: None,
            holds: 0,
        };
        let mine =
            [snapshot("@1", "a"), snapshot("@2", "b"), snapshot("@3", "c"), snapshot("@4", "d"), snapshot("#1", "a")];
        let names = |base: usize, sent: Option<&str>| {
            between(&mine, &mine[base], sent).into_iter().map(Snapshot::short).collect::<Vec<_>>()
        };
        assert_eq!(names(0, Some("d")), ["2", "3"]);
        assert_eq!(names(1, None), ["3", "4"]);
        assert!(names(2, Some("d")).is_empty() && names(0, Some("z")).is_empty());
        assert!(names(4, Some("d")).is_empty(), "a bookmark is no start of several");
    }
}
