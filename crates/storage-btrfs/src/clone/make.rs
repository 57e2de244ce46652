//! Writable snapshots beside the live data.

use reseed_core::Result;
use reseed_core::item::{Place, Places};
use reseed_core::stage::StageCx;
use reseed_storage::mirror::{self, Mirror};
use reseed_storage::{Origin, name};

use super::plan::{self, Slot};
use crate::btrfs::Btrfs;
use crate::shared::Received;
use crate::undo::DeleteSubvolume;

/// All copies of a run.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) btrfs: Btrfs,
    /// What each is a copy of, parents before children.
    pub(super) origins: Vec<Origin>,
    /// Where each is now.
    pub(super) mirrors: Vec<Mirror>,
    /// The directory in which what they were made of is.
    pub(super) into: String,
    /// The switch as it was prepared: the places that it was prepared for, and who goes where.
    pub(super) seating: Option<(Vec<Place>, Vec<Slot>)>,
}

/// Takes a writable snapshot of each copy, and makes an empty subvolume for each one left out.
pub(super) async fn make(received: &Received, cx: &StageCx) -> Result<Copies> {
    let btrfs = received.btrfs.clone();
    let sources = sources(received);
    let origins: Vec<_> = sources.iter().map(|(origin, _)| origin.clone()).collect();
    let seating = match cx.board().get::<Places>() {
        Some(places) => {
            let slots = plan::judged(&btrfs, &origins, &places.0, &received.into).await?;
            Some((places.0.clone(), slots))
        }
        None => None,
    };
    let copies = match &seating {
        Some((_, slots)) => beside_places(slots, cx.run_id()),
        None => sources.iter().map(|(origin, copy)| beside_copy(origin, copy.as_deref(), received, cx)).collect(),
    };
    let mirror = |(origin, copy): (&Origin, String)| Mirror { source: origin.mountpoint.clone(), copy };
    let mirrors: Vec<_> = origins.iter().zip(copies).map(mirror).collect();
    // What lies in another one can be made only when that is there.
    let mut order: Vec<_> = (0..sources.len()).collect();
    order.sort_by_key(|index| mirrors[*index].copy.len());
    for index in order {
        let at = &mirrors[index].copy;
        cx.arm(DeleteSubvolume::new(&btrfs, at))?;
        match &sources[index].1 {
            Some(copy) => btrfs.snapshot(copy, at, false).await?,
            None => {
                btrfs.create(at).await?;
                mirror::furnish(btrfs.host().as_ref(), &mirrors[index], &mirrors, cx).await?;
            }
        }
    }
    Ok(Copies { btrfs, origins, mirrors, into: received.into.clone(), seating })
}

/// What is to be copied, and the received snapshot; `None` for an empty one.
fn sources(received: &Received) -> Vec<(Origin, Option<String>)> {
    let parts = received.parts.iter().map(|(part, copy)| (Origin::of(part), Some(copy.clone())));
    parts.chain(received.left_out.iter().map(|left| (Origin::empty(left), None))).collect()
}

/// Beside the place of each, or where it belongs in the copy that it lies in.
fn beside_places(slots: &[Slot], run: &str) -> Vec<String> {
    fn path(slots: &[Slot], index: usize, run: &str) -> String {
        match &slots[index].within {
            Some((above, rest)) => format!("{}{rest}", path(slots, *above, run)),
            None => name::copy(&slots[index].path, run),
        }
    }
    (0..slots.len()).map(|index| path(slots, index, run)).collect()
}

/// Beside what was received, where nobody says where it goes.
fn beside_copy(origin: &Origin, copy: Option<&str>, received: &Received, cx: &StageCx) -> String {
    let directory = copy.and_then(name::parent).map(str::to_owned);
    let directory = directory.unwrap_or_else(|| format!("{}/{}", received.into, name::last(&origin.dataset)));
    name::copy(&directory, cx.run_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_lie_beside_their_places_and_in_each_other() {
        let slot = |path: &str, within| Slot { path: path.into(), within, live: None };
        let slots = [slot("/b/pg", None), slot("/b/pg/ts", Some((0, "/ts".to_owned()))), slot("/b/wal", None)];
        let copies = beside_places(&slots, "7");
        assert_eq!(copies, ["/b/pg-reseed-7", "/b/pg-reseed-7/ts", "/b/wal-reseed-7"]);
    }
}
