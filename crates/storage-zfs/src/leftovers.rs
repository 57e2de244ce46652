//! What runs have left on ZFS, told by names and identities alone.

use std::sync::Arc;

use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::leftover::{Leftover, Leftovers, Stays};
use reseed_core::undo::Undo;
use reseed_storage::directory::RemoveTree;
use reseed_storage::keep::now;
use reseed_storage::name::{Made, made};

use crate::aside::{ComeBack, EXPIRES, Live};
use crate::clone::BASE;
use crate::name;
use crate::parse::{Filesystem, Snapshot};
use crate::undo::{DestroyDataset, DestroySnapshot, Kept, RollBack};
use crate::zfs::Zfs;

/// Snapshots of these datasets, which are the source's. Those of another target than `target`, where that is
/// known, are kept.
pub(crate) async fn snapshots(zfs: &Zfs, datasets: &[&str], target: Option<&str>) -> Result<Leftovers> {
    let mut told = Leftovers::default();
    for (dataset, all) in datasets.iter().zip(zfs.snapshots_of(datasets).await?) {
        let newest = all.iter().rfind(|one| run_of(one).is_some() && !is_foreign(one, target));
        // A bookmark keeps no space, and is the anchor of a target: `reseed forget` lets go of it.
        for one in all.iter().filter(|one| !one.is_bookmark()) {
            let Some(run) = run_of(one) else { continue };
            let stays = match one {
                one if is_foreign(one, target) => Stays::Kept("it was made for another target".to_owned()),
                one if one.held() => Stays::Kept("a hold is on it".to_owned()),
                one if newest == Some(one) => Stays::Alive("the newest: the next increment starts from it".to_owned()),
                _ => Stays::Alive("as many as `keep` says stay".to_owned()),
            };
            told.found.push(found(zfs, "snapshot", &one.name, run, stays, destroy(zfs, dataset, one)));
        }
    }
    Ok(told)
}

fn run_of(one: &Snapshot) -> Option<&str> {
    name::run_of(one.short())
}

fn is_foreign(one: &Snapshot, target: Option<&str>) -> bool {
    matches!((&one.target, target), (Some(made_for), Some(target)) if made_for != target)
}

fn destroy(zfs: &Zfs, dataset: &str, one: &Snapshot) -> Arc<dyn Undo> {
    let (dataset, short) = (dataset.to_owned(), one.short().to_owned());
    Arc::new(DestroySnapshot { zfs: zfs.clone(), dataset, short, tree: false, receiver: None, kept: Kept::default() })
}

/// What is on the machine that receives: snapshots that were received into a tree, clones that wait, live
/// datasets that stand aside, and the directories where clones are mounted. `over` is what is received
/// into in place, where that is done: then there is nothing to be told by its snapshots.
pub(crate) async fn copies(zfs: &Zfs, top: &str, over: bool) -> Result<Leftovers> {
    let pool = name::pool(top);
    let all = zfs.filesystems(pool).await?;
    let expires = zfs.set_in_tree(pool, EXPIRES).await?;
    let mut told = Leftovers::default();
    for one in &all {
        if let Some(Made::Aside { run, live }) = made(&one.name) {
            let until = expires.iter().find(|(name, _)| *name == one.name).and_then(|(_, until)| until.parse().ok());
            let stays = stood_aside(&all, live, until);
            let undo = match &stays {
                Stays::No => come_back(zfs, &all, &one.name, live).await?,
                _ => Arc::new(DestroyDataset::new(zfs, &one.name)),
            };
            told.found.push(found(zfs, "dataset aside", &one.name, run, stays, undo));
        }
    }
    for one in &all {
        if let Some(Made::Copy { run }) = made(&one.name) {
            let undo = Arc::new(DestroyDataset::new(zfs, &one.name));
            told.found.push(found(zfs, "clone", &one.name, run, Stays::No, undo));
        }
    }
    directories(zfs, &mut told).await?;
    let tree: Vec<_> =
        all.iter().filter(|one| name::under(&one.name, top).is_some() && !is_made_in(&one.name)).collect();
    let names: Vec<_> = tree.iter().map(|one| one.name.as_str()).collect();
    let tree: Vec<_> = names.iter().copied().zip(zfs.snapshots_of(&names).await?).collect();
    for (dataset, snapshots) in tree.iter().rev() {
        match over {
            true => told.in_use.extend(live_snapshots(&told.found, snapshots)),
            false => received(zfs, &all, (*dataset, snapshots.as_slice()), &tree, &mut told),
        }
    }
    Ok(told)
}

/// Whether it, or one above it, is what a run made.
fn is_made_in(dataset: &str) -> bool {
    std::iter::successors(Some(dataset), |name| name::parent(name)).any(|name| made(name).is_some())
}

/// Of a live dataset, the runs that it came by, unless what was live before still stands aside.
fn live_snapshots(found: &[Leftover], snapshots: &[Snapshot]) -> Vec<(String, String)> {
    let open = |run: &str| found.iter().any(|one| one.run == run && !matches!(one.stays, Stays::Kept(_)));
    let runs = snapshots.iter().filter_map(|one| Some((run_of(one)?, one)));
    let runs = runs.filter(|(run, _)| !open(run));
    runs.map(|(run, one)| (run.to_owned(), format!("{} is a snapshot of what is live", one.name))).collect()
}

fn stood_aside(all: &[Filesystem], live: &str, until: Option<u64>) -> Stays {
    match until {
        Some(until) if until > now() => Stays::Kept(format!("`keep_old`, for {} s more", until - now())),
        Some(_) => Stays::Kept("its time is over: the next run destroys it".to_owned()),
        None if all.iter().any(|one| one.name == live) => {
            Stays::Doubt(format!("it was live, and another dataset has the name {live}: one of them is to go"))
        }
        None => Stays::No,
    }
}

/// What puts it back, mounted: it was live, and a dataset that was has been mounted where its property says.
async fn come_back(zfs: &Zfs, all: &[Filesystem], aside: &str, live: &str) -> Result<Arc<dyn Undo>> {
    let tree = all.iter().filter_map(|one| Some((one, name::under(&one.name, aside)?)));
    let was = |(one, rest): (&Filesystem, &str)| {
        let mounted = one.mountpoint.starts_with('/') && one.canmount != "off";
        let canmount = if one.canmount == "noauto" { "on".to_owned() } else { one.canmount.clone() };
        Filesystem { name: format!("{live}{rest}"), mounted, canmount, ..one.clone() }
    };
    let tree = tree.map(was).collect();
    let guid = zfs.guid(aside).await?.unwrap_or_default();
    let live = Live { root: live.to_owned(), guid, tree };
    Ok(Arc::new(ComeBack { zfs: zfs.clone(), live, aside: aside.to_owned() }))
}

/// What was received into one dataset of a tree.
fn received(
    zfs: &Zfs,
    all: &[Filesystem],
    (dataset, snapshots): (&str, &[Snapshot]),
    tree: &[(&str, Vec<Snapshot>)],
    told: &mut Leftovers,
) {
    let alone = |run: &str| {
        let mut below = tree.iter().filter(|(name, _)| name::under(name, dataset).is_some());
        below.all(|(_, snapshots)| snapshots.iter().all(|one| run_of(one) == Some(run)))
    };
    let snapshots: Vec<_> = snapshots.iter().filter(|one| !one.is_bookmark()).collect();
    for (at, one) in snapshots.iter().enumerate() {
        let Some(run) = run_of(one) else { continue };
        told.in_use.extend(used(all, one).map(|why| (run.to_owned(), why)));
        let base = at.checked_sub(1).map(|at| snapshots[at]);
        let (stays, undo) = match (at + 1 == snapshots.len(), base) {
            (false, _) => (Stays::Kept("newer ones stand on it".to_owned()), destroy(zfs, dataset, one)),
            (true, _) if one.held() => (Stays::Kept("a hold is on it".to_owned()), destroy(zfs, dataset, one)),
            (true, Some(base)) => (Stays::Alive(WHOLE.to_owned()), roll_back(zfs, dataset, base, one)),
            (true, None) if !alone(run) => {
                (Stays::Doubt("what others made is below it".to_owned()), destroy(zfs, dataset, one))
            }
            (true, None) => (Stays::Alive(WHOLE.to_owned()), Arc::new(DestroyDataset::new(zfs, dataset)) as _),
        };
        told.found.push(found(zfs, "received snapshot", &one.name, run, stays, undo));
    }
}

/// Why what was received stays.
const WHOLE: &str = "received whole: an increment may start from it";

fn roll_back(zfs: &Zfs, dataset: &str, base: &Snapshot, received: &Snapshot) -> Arc<dyn Undo> {
    Arc::new(RollBack {
        zfs: zfs.clone(),
        dataset: dataset.to_owned(),
        base: base.guid.clone(),
        base_name: base.short().to_owned(),
        received: received.guid.clone(),
        between: vec![],
        target: String::new(),
        kept: Kept::default(),
    })
}

/// Why a received snapshot is in use: a clone of it has the name of a live dataset.
fn used(all: &[Filesystem], snapshot: &Snapshot) -> Option<String> {
    let clone = all.iter().find(|one| one.origin.as_deref() == Some(&snapshot.name) && !is_made_in(&one.name))?;
    Some(format!("{} is a clone of it", clone.name))
}

/// Directories in which runs mount their clones.
async fn directories(zfs: &Zfs, told: &mut Leftovers) -> Result<()> {
    let list = Command::script(r#"[ ! -d "$1" ] || ls -A -- "$1""#).titled("ls").arg(BASE).as_root();
    let host = zfs.host();
    for directory in host.run(list).await?.lines() {
        let Some(run) = directory.get(..RUN_ID).filter(|run| reseed_core::is_run_id(run)) else { continue };
        let path = format!("{BASE}/{directory}");
        let undo = RemoveTree { host: Arc::clone(host), path: path.clone(), base: BASE.to_owned() };
        told.found.push(found(zfs, "directory", &path, run, Stays::No, Arc::new(undo)));
    }
    Ok(())
}

/// The length of a run's id.
const RUN_ID: usize = 22;

fn found(zfs: &Zfs, what: &'static str, name: &str, run: &str, stays: Stays, undo: Arc<dyn Undo>) -> Leftover {
    Leftover { what, place: zfs.host().name().to_owned(), name: name.to_owned(), run: run.to_owned(), stays, undo }
}

#[cfg(test)]
mod tests {
    use reseed_core::host::{LocalConfig, LocalHost};

    use super::*;
    use crate::parse;

    const LISTED: &str = "tb\t-\t/tb\ton\tyes
tb/live\ttb/r/pg@reseed-20260101t000000-000001\t/data\tnoauto\tyes
tb/live-reseed-old-20260102t000000-000002\ttb/r/pg@x\t/data\tnoauto\tno
tb/r\t-\tnone\toff\tno
tb/r/pg\t-\tnone\ton\tno
tb/r/pg-reseed-20260103t000000-000003\ttb/r/pg@reseed-20260103t000000-000003\t/var/lib/reseed/x\ton\tyes
";
    /// What `zfs get` tells of the snapshots of what is received into.
    const SNAPSHOTS: &str = "tb/r/pg@reseed-20260101t000000-000001\tguid\t1\t-
tb/r/pg@reseed-20260101t000000-000001\tuserrefs\t0\t-
tb/r/pg@daily\tguid\t2\t-
tb/r/pg@reseed-20260103t000000-000003\tguid\t3\t-
tb/r/pg@reseed-20260103t000000-000003\tuserrefs\t0\t-
";

    fn zfs() -> Zfs {
        Zfs::on(&(Arc::new(LocalHost::new("local", &LocalConfig::default())) as _))
    }

    fn told(listed: &str) -> Leftovers {
        let (all, snapshots) = (parse::filesystems(LISTED), parse::snapshots(listed, "tb/r/pg"));
        let (mut told, tree) = (Leftovers::default(), [("tb/r/pg", snapshots.clone())]);
        received(&zfs(), &all, ("tb/r/pg", &snapshots), &tree, &mut told);
        told
    }

    #[test]
    fn of_what_was_received_only_the_newest_may_go_and_what_is_live_is_in_use() {
        let told = told(SNAPSHOTS);
        let stays: Vec<_> = told.found.iter().map(|one| (&one.run[16..], &one.stays)).collect();
        let kept = Stays::Kept("newer ones stand on it".to_owned());
        assert_eq!(stays, [("000001", &kept), ("000003", &Stays::Alive(WHOLE.to_owned()))]);
        assert_eq!(told.found[1].undo.by_hand(), "zfs rollback -r tb/r/pg@daily");
        let live = ("20260101t000000-000001".to_owned(), "tb/live is a clone of it".to_owned());
        assert_eq!(told.in_use, [live]);
    }

    #[test]
    fn a_first_seeding_goes_whole_unless_others_have_something_in_it_or_it_is_held() {
        let only = SNAPSHOTS.lines().skip(3).collect::<Vec<_>>().join("\n");
        assert_eq!(told(&only).found[0].undo.by_hand(), "zfs destroy -r tb/r/pg");
        let held = told(&only.replace("userrefs\t0", "userrefs\t1"));
        assert_eq!(held.found[0].stays, Stays::Kept("a hold is on it".to_owned()));
        let (all, mine) = (parse::filesystems(LISTED), parse::snapshots(&only, "tb/r/pg"));
        let others = parse::snapshots("tb/r/pg/wal@daily\tguid\t9\t-\n", "tb/r/pg/wal");
        let (mut told, tree) = (Leftovers::default(), [("tb/r/pg", mine.clone()), ("tb/r/pg/wal", others)]);
        received(&zfs(), &all, ("tb/r/pg", &mine), &tree, &mut told);
        assert_eq!(told.found[0].stays, Stays::Doubt("what others made is below it".to_owned()));
    }

    #[test]
    fn what_stands_aside_comes_back_only_into_an_empty_place() {
        let all = parse::filesystems(LISTED);
        assert!(matches!(stood_aside(&all, "tb/live", None), Stays::Doubt(_)));
        assert_eq!(stood_aside(&all, "tb/other", None), Stays::No);
        for until in [now() - 1, now() + 100] {
            assert!(matches!(stood_aside(&all, "tb/live", Some(until)), Stays::Kept(_)));
        }
    }
}
