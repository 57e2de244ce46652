//! From where each dataset is sent.

use reseed_core::Result;
use reseed_core::item::SnapshotPart;
use reseed_core::stage::{CheckCx, Holdings};

use super::between::between;
use crate::parse::Snapshot;
use crate::partial::{Partial, Partials};
use crate::shared::Outgoing;
use crate::zfs::Zfs;

/// The newest snapshot, or failing that bookmark, that the target holds too, other than the one
/// that is to be sent.
pub(super) fn newest_common<'s>(mine: &'s [Snapshot], held: &[String], sent: Option<&str>) -> Option<&'s Snapshot> {
    let common = |one: &&Snapshot| held.contains(&one.guid) && Some(one.guid.as_str()) != sent;
    // Bookmarks are listed behind the snapshots, so the age of the two kinds is told by the target.
    let age = |one: &&Snapshot| (held.iter().position(|guid| *guid == one.guid), !one.is_bookmark());
    mine.iter().filter(common).max_by_key(age)
}

/// Finds out from where one dataset will be sent, and says so. What is gone on with is added to
/// `resuming`.
pub(super) async fn outgoing(
    zfs: &Zfs,
    part: &SnapshotPart,
    snapshots: &[Snapshot],
    held: &Holdings,
    intermediary: bool,
    cx: &CheckCx,
    resuming: &mut Vec<Partial>,
) -> Result<Outgoing> {
    let mut guids = held.of(&part.dataset).to_vec();
    if let Some(partial) = Partials::of(cx, &part.dataset)
        && resumes(&partial, snapshots, &guids, cx)
    {
        guids.push(partial.token.to_guid.clone());
        resuming.push(partial);
    }
    let base = newest_common(snapshots, &guids, None);
    let between = base.filter(|_| intermediary).map(|base| between(snapshots, base, None)).unwrap_or_default();
    let bytes = match (base, between.last()) {
        // What was written and freed again in between comes too.
        (Some(base), Some(last)) => {
            let (by_way, since) =
                tokio::join!(super::between::size(zfs, base, last), size_since(zfs, &part.dataset, Some(last)));
            match by_way.zip(since) {
                Some((by_way, since)) => Some(by_way.saturating_add(since)),
                None => size_since(zfs, &part.dataset, Some(base)).await,
            }
        }
        _ => size_since(zfs, &part.dataset, base).await,
    };
    let about = bytes.map(|bytes| format!(", about {} MiB", bytes.div_ceil(1 << 20))).unwrap_or_default();
    cx.note(match base {
        Some(base) => {
            let by = if intermediary { by_way_of(snapshots, base) } else { String::new() };
            format!("{}: what changed since {}{by}{about}", part.dataset, shown(base))
        }
        None => format!("{}: the whole{about}, since {} holds no snapshot of it", part.dataset, held.target),
    });
    Ok(Outgoing { dataset: part.dataset.clone(), base: base.map(|base| base.guid.clone()), bytes })
}

/// What comes with an increment of its own accord: the snapshots that are there now.
fn by_way_of(snapshots: &[Snapshot], base: &Snapshot) -> String {
    match (base.is_bookmark(), between(snapshots, base, None).len()) {
        (true, _) => ", without the snapshots in between, as only its bookmark is left".to_owned(),
        (false, 0) => String::new(),
        (false, 1) => ", with the snapshot in between".to_owned(),
        (false, several) => format!(", with the {several} snapshots in between"),
    }
}

/// `@name` or `#name`.
fn shown(base: &Snapshot) -> String {
    format!("{}{}", if base.is_bookmark() { '#' } else { '@' }, base.short())
}

/// Says what becomes of what an interrupted transfer left; whether it is gone on with.
fn resumes(partial: &Partial, snapshots: &[Snapshot], held: &[String], cx: &CheckCx) -> bool {
    let (token, dataset) = (&partial.token, &partial.dataset);
    let mib = token.bytes >> 20;
    let goes_on = partial.resumable(snapshots, held).is_some();
    cx.note(match goes_on {
        true => {
            format!("{dataset} has {mib} MiB of {} from an interrupted transfer: the rest of it first", token.to_name)
        }
        false => format!(
            "{dataset} has {mib} MiB of {} ({}) from an interrupted transfer, which can't be gone on with: it is \
             given up",
            token.to_name, token.to_guid
        ),
    });
    goes_on
}

/// Bytes that were written since a snapshot or a bookmark, or that the dataset refers to in all.
async fn size_since(zfs: &Zfs, dataset: &str, base: Option<&Snapshot>) -> Option<u64> {
    let property = match base {
        Some(base) => format!("written{}", shown(base)),
        None => "referenced".to_owned(),
    };
    // `zfs` knows `written@…` since it estimates (illumos 1645 and 1646 came together).
    if base.is_some() && !zfs.features().await.ok()?.estimate {
        return None;
    }
    let mut properties = zfs.properties(dataset, &property).await.ok()?;
    properties.remove(&property)?.value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, guid: &str) -> Snapshot {
        Snapshot { name: format!("ta/a{name}"), guid: guid.into(), target: None, holds: 0 }
    }

    #[test]
    fn the_newest_that_both_hold_is_the_base_whatever_it_is_called() {
        let mine = [snapshot("@1", "a"), snapshot("@x", "b"), snapshot("@new", "d"), snapshot("#2", "b")];
        let held = |guids: &[&str]| guids.iter().map(|guid| (*guid).to_owned()).collect::<Vec<_>>();
        let base = |guids: &[&str]| newest_common(&mine, &held(guids), Some("d")).map(|base| base.name.as_str());
        assert_eq!(base(&["a", "b", "z"]), Some("ta/a@x"));
        assert_eq!(base(&["a", "d"]), Some("ta/a@1"));
        assert_eq!(base(&["z"]), None);
        let bookmark = [snapshot("@1", "a"), snapshot("#2", "b")];
        assert_eq!(newest_common(&bookmark, &held(&["a", "b"]), None).map(|base| base.is_bookmark()), Some(true));
    }
}
