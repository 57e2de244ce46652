//! What runs have left on btrfs, told by names and identities alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use reseed_core::Result;
use reseed_core::leftover::{Leftover, Leftovers, Stays};
use reseed_storage::below;
use reseed_storage::keep::now;
use reseed_storage::name::{self, Made};

use crate::aside::expiries;
use crate::btrfs::Btrfs;
use crate::parse::Subvolume;
use crate::table::{Seen, Table};
use crate::undo::{ComeBack, DeleteSubvolume};

/// Snapshots in these directories. Those with another end than `suffix`, where that is known, are for other
/// targets.
pub(crate) async fn snapshots(btrfs: &Btrfs, homes: &[&str], suffix: Option<&str>) -> Result<Leftovers> {
    Ok(told_of_homes(btrfs, &btrfs.table(homes).await?, homes, suffix))
}

/// The same, of a table. Pure.
fn told_of_homes(btrfs: &Btrfs, table: &Table, homes: &[&str], suffix: Option<&str>) -> Leftovers {
    let mut told = Leftovers::default();
    for home in homes {
        let mine: Vec<_> = table.tree(home).filter_map(|seen| Some((seen, snapshot(seen, home)?))).collect();
        for (seen, (run, rest)) in &mine {
            let foreign = suffix.is_some_and(|suffix| !rest.starts_with(suffix));
            let newest = mine.iter().filter(|(_, (_, other))| other == rest).map(|(seen, _)| seen.subvolume.id).max();
            let stays = match foreign {
                true => Stays::Kept("it was made for another target".to_owned()),
                false if newest == Some(seen.subvolume.id) => Stays::Alive(NEWEST.to_owned()),
                false => Stays::Alive("as many as `keep` says stay".to_owned()),
            };
            told.found.push(one("snapshot", btrfs, seen, run, stays));
        }
    }
    told
}

/// Why the newest snapshot stays.
const NEWEST: &str = "the newest: the next increment starts from it";

/// The run, and what stands behind it, of a snapshot right in this directory.
fn snapshot<'s>(seen: &'s Seen, home: &str) -> Option<(&'s str, &'s str)> {
    match name::made(&seen.path) {
        Some(Made::Snapshot { run, rest }) if name::parent(&seen.path) == Some(home) => Some((run, rest)),
        _ => None,
    }
}

/// What is on the machine that receives: copies in `into`, copies that wait beside the live data, and live
/// data that stands aside.
pub(crate) async fn copies(btrfs: &Btrfs, into: &str) -> Result<Leftovers> {
    let table = btrfs.table(&[into]).await?;
    let Some(filesystem) = table.filesystem_of(into) else { return Ok(Leftovers::default()) };
    let mut expires = BTreeMap::new();
    for (_, live) in table.of(filesystem).into_iter().filter_map(aside) {
        expires.extend(expiries(btrfs, live).await?);
    }
    Ok(told_of(btrfs, &table, filesystem, into, &expires))
}

/// The same, of a table; `expires` has what is dated. Pure.
fn told_of(btrfs: &Btrfs, table: &Table, filesystem: &str, into: &str, expires: &BTreeMap<String, u64>) -> Leftovers {
    let mut told = Leftovers::default();
    let all = table.of(filesystem);
    for (seen, (run, live)) in all.iter().filter_map(|seen| Some((seen, aside(seen)?))) {
        told.found.push(stood_aside(btrfs, table, seen, (run, live), expires.get(&seen.path).copied()));
    }
    for seen in &all {
        match name::made(&seen.path) {
            Some(Made::Copy { run }) => told.found.push(one("copy", btrfs, seen, run, Stays::No)),
            Some(Made::Snapshot { run, rest }) if below(&seen.path, into).is_some() => {
                let stays = match (received(&seen.subvolume), rest.ends_with(SEAL)) {
                    (true, false) => Stays::Alive("received whole: an increment may start from it".to_owned()),
                    _ => Stays::No,
                };
                told.found.push(one("received copy", btrfs, seen, run, stays));
                told.in_use.extend(used(table, filesystem, seen).map(|why| (run.to_owned(), why)));
            }
            _ => {}
        }
    }
    told
}

/// What the name of a seal ends with.
const SEAL: &str = ".seal";

/// Whether it came whole.
fn received(subvolume: &Subvolume) -> bool {
    subvolume.readonly && subvolume.received.is_some()
}

/// The run, and the name that it had, of what stands aside.
fn aside(seen: &Seen) -> Option<(&str, &str)> {
    match name::made(&seen.path) {
        Some(Made::Aside { run, live }) => Some((run, live)),
        _ => None,
    }
}

/// Something that was live: put back where nothing has its place, else it is a person's to decide.
fn stood_aside(btrfs: &Btrfs, table: &Table, seen: &Seen, (run, live): (&str, &str), expires: Option<u64>) -> Leftover {
    let stays = match expires {
        Some(until) if until > now() => Stays::Kept(format!("`keep_old`, for {} s more", until - now())),
        Some(_) => Stays::Kept("its time is over: the next run deletes it".to_owned()),
        None if table.at(live).is_some() => {
            Stays::Doubt(format!("it was live, and another subvolume is at {live}: one of them is to go"))
        }
        None => Stays::No,
    };
    let back = ComeBack {
        btrfs: btrfs.clone(),
        path: live.to_owned(),
        aside: seen.path.clone(),
        uuid: seen.subvolume.uuid.clone(),
    };
    let one = one("subvolume aside", btrfs, seen, run, stays);
    if matches!(one.stays, Stays::No) { Leftover { undo: Arc::new(back), ..one } } else { one }
}

/// Why a received copy is in use: what is made of it has the place of a live subvolume.
fn used(table: &Table, filesystem: &str, copy: &Seen) -> Option<String> {
    let of_it = |seen: &&Seen| seen.subvolume.parent.as_ref() == Some(&copy.subvolume.uuid);
    let live = |seen: &&Seen| !seen.subvolume.readonly && name::made(&seen.path).is_none();
    let live = table.of(filesystem).into_iter().filter(of_it).find(live)?;
    Some(format!("{} was made of it", live.path))
}

fn one(what: &'static str, btrfs: &Btrfs, seen: &Seen, run: &str, stays: Stays) -> Leftover {
    let place = btrfs.host().name().to_owned();
    let undo = Arc::new(DeleteSubvolume::new(btrfs, &seen.path));
    Leftover { what, place, name: seen.path.clone(), run: run.to_owned(), stays, undo }
}

#[cfg(test)]
mod tests {
    use reseed_core::host::{LocalConfig, LocalHost};

    use super::*;
    use crate::parse::{filesystem, mounted};

    const MOUNTS: &str = "26 1 254:0 / / rw - ext4 /dev/vda rw\n48 27 0:44 / /b rw - btrfs /dev/vdb rw\n";

    /// What `btrfs` prints of a file system on which four runs were at work: the first is what is live, the second
    /// set something aside, the third died while it received, the fourth in its switch.
    const LISTED: &str = "Label: none  uuid: fs
\tTotal devices 1 FS bytes used 192.00KiB

all
ID 256 gen 9 cgen 7 parent 5 top level 5 parent_uuid c1 received_uuid -  uuid live path <FS_TREE>/pg
ID 257 gen 9 cgen 7 parent 5 top level 5 parent_uuid - received_uuid s1  uuid c1 path <FS_TREE>/reseed/pg/reseed-20260101t000000-000001.0a0b0c0d
ID 258 gen 9 cgen 7 parent 5 top level 5 parent_uuid c0 received_uuid -  uuid o2 path <FS_TREE>/pg-reseed-old-20260102t000000-000002
ID 259 gen 9 cgen 7 parent 5 top level 5 parent_uuid c1 received_uuid -  uuid c3 path <FS_TREE>/reseed/pg/reseed-20260103t000000-000003.0a0b0c0d
ID 260 gen 9 cgen 7 parent 5 top level 5 parent_uuid - received_uuid s4  uuid c4 path <FS_TREE>/reseed/pg/reseed-20260104t000000-000004.0a0b0c0d
ID 261 gen 9 cgen 7 parent 5 top level 5 parent_uuid c4 received_uuid -  uuid w4 path <FS_TREE>/pg-reseed-20260104t000000-000004
ID 262 gen 9 cgen 7 parent 5 top level 5 parent_uuid c0 received_uuid -  uuid o4 path <FS_TREE>/wal-reseed-old-20260104t000000-000004
ID 263 gen 9 cgen 7 parent 5 top level 5 parent_uuid - received_uuid -  uuid x path <FS_TREE>/reseed/pg/daily
ID 264 gen 9 cgen 7 parent 5 top level 5 parent_uuid c0 received_uuid -  uuid o5 path <FS_TREE>/pg-reseed-old-20260105t000000-000005
readonly
ID 257 gen 9 top level 5 path <FS_TREE>/reseed/pg/reseed-20260101t000000-000001.0a0b0c0d
ID 260 gen 9 top level 5 path <FS_TREE>/reseed/pg/reseed-20260104t000000-000004.0a0b0c0d
here
/
";

    fn table() -> Table {
        let mut table = Table::new(mounted(MOUNTS));
        table.add("/dev/vdb", filesystem(LISTED).unwrap());
        table
    }

    fn btrfs() -> Btrfs {
        Btrfs::on(&(Arc::new(LocalHost::new("local", &LocalConfig::default())) as _))
    }

    fn word(stays: &Stays) -> &'static str {
        match stays {
            Stays::No => "goes",
            Stays::Alive(_) => "while alive",
            Stays::Kept(_) => "kept",
            Stays::Doubt(_) => "doubt",
        }
    }

    fn short(told: &Leftovers) -> Vec<(&'static str, &str, &'static str)> {
        told.found.iter().map(|one| (one.what, &one.run[16..], word(&one.stays))).collect()
    }

    #[test]
    fn what_lies_where_is_received_is_told_by_its_name_and_identity() {
        let dated = [("/b/pg-reseed-old-20260102t000000-000002".to_owned(), now() + 100)];
        let told = told_of(&btrfs(), &table(), "fs", "/b/reseed", &dated.into());
        let expected = [
            ("subvolume aside", "000002", "kept"),
            ("subvolume aside", "000004", "goes"),
            ("subvolume aside", "000005", "doubt"),
            ("received copy", "000001", "while alive"),
            ("received copy", "000003", "goes"),
            ("received copy", "000004", "while alive"),
            ("copy", "000004", "goes"),
        ];
        assert_eq!(short(&told), expected);
        assert_eq!(told.in_use, [("20260101t000000-000001".to_owned(), "/b/pg was made of it".to_owned())]);
        let back = &told.found[1].undo;
        assert_eq!(back.by_hand(), "mv -T /b/wal-reseed-old-20260104t000000-000004 /b/wal");
    }

    #[test]
    fn snapshots_of_other_targets_are_kept() {
        let told = |suffix| told_of_homes(&btrfs(), &table(), &["/b/reseed/pg"], suffix);
        let alive = [
            ("snapshot", "000001", "while alive"),
            ("snapshot", "000003", "while alive"),
            ("snapshot", "000004", "while alive"),
        ];
        assert_eq!(short(&told(Some(".0a0b0c0d"))), alive);
        assert_eq!(short(&told(None)), alive);
        assert!(short(&told(Some(".ffffffff"))).iter().all(|(_, _, word)| *word == "kept"));
    }
}
