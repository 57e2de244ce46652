use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Error;

use super::*;
use crate::chain::{Link, chains};
use crate::chunks::{Keeping, Reading, read, write};
use crate::format::Parent;
use crate::seal::Identities;
use crate::store::{FileStore, Over, Sha256};
use crate::testing::{how, names, once, put};
use crate::uploads::Upload;
use crate::verify::{Depth, verify};

const DAY: u64 = 86_400;
const GRACE: u64 = DAY;

fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::new(directory.path()));
    (directory, store)
}

fn policy(last: u32) -> Policy {
    Policy { keep: Keep { last, ..Keep::default() }, grace: GRACE }
}

/// A full and increments after it, one a day from this day on.
async fn chain(store: &Arc<dyn Store>, root: &str, day: u64, increments: u32) -> Vec<Link> {
    let (mut links, mut parent): (Vec<Link>, Option<Parent>) = (vec![], None);
    for depth in 0..=increments {
        let link = put(store, root, depth, parent, (day + u64::from(depth)) * DAY).await.unwrap();
        parent = Some(link.as_parent());
        links.push(link);
    }
    links
}

async fn look(store: &Arc<dyn Store>, policy: Policy, day: u64) -> Prune {
    Prune::look_at(store.as_ref(), &Trust::default(), policy, day * DAY).await.unwrap()
}

/// Marks and removes as on this day; gives how many objects are gone.
async fn prune(store: &Arc<dyn Store>, policy: Policy, day: u64) -> usize {
    look(store, policy, day).await.apply(store, &format!("prune-{day}")).await.unwrap().0
}

async fn all_whole(store: &Arc<dyn Store>) -> Vec<usize> {
    let mut lengths = vec![];
    for chain in chains(store.as_ref()).await.unwrap() {
        let verdict = verify(store, &chain, Depth::Deep).await.unwrap();
        assert_eq!(verdict.broken, vec![], "{}", chain.name);
        lengths.push(chain.links.len());
    }
    lengths
}

#[tokio::test]
async fn what_is_not_kept_goes_after_the_grace_time_and_no_parent_of_what_is() {
    let (_directory, store) = store();
    chain(&store, "a", 0, 3).await;
    chain(&store, "b", 10, 3).await;
    let everything = names(&store).await.len();
    // The second newest is kept, and with it the three that it needs.
    let seen = look(&store, policy(2), 20).await;
    assert_eq!((seen.kept.len(), seen.surplus.len()), (4, 4 + 12));
    assert!(seen.ripe().next().is_none() && seen.surplus.iter().all(|one| one.since.is_none()));
    assert_eq!(names(&store).await.len(), everything, "to look changes nothing");
    assert_eq!(prune(&store, policy(2), 20).await, 0);
    assert_eq!(all_whole(&store).await, [4, 4]);
    assert_eq!(prune(&store, policy(2), 20).await, 0, "the grace time is not over");
    assert_eq!(prune(&store, policy(2), 21).await, 16);
    assert_eq!(all_whole(&store).await, [4]);
    assert!(!names(&store).await.iter().any(|name| name.starts_with("chunks/a")));
}

#[tokio::test]
async fn of_two_states_of_one_second_the_one_of_the_younger_chain_is_the_newest() {
    let (_directory, store) = store();
    let old = chain(&store, "20260101t000000-b", 0, 1).await;
    let new = put(&store, "20260102t000000-a", 0, None, old[1].manifest.created).await.unwrap();
    let all = chains(store.as_ref()).await.unwrap();
    let newest = all.iter().filter_map(|chain| chain.newest()).max_by(|one, other| one.order().cmp(&other.order()));
    assert_eq!(newest.unwrap().key, new.key);
    assert_eq!(crate::put::newest_of(&all, "tank/pg").unwrap().newest().unwrap().key, new.key);
    prune(&store, policy(1), 2).await;
    prune(&store, policy(1), 4).await;
    let left = chains(store.as_ref()).await.unwrap();
    assert_eq!(left.iter().filter_map(|chain| chain.newest()).map(|link| &link.key).collect::<Vec<_>>(), [&new.key]);
}

#[tokio::test]
async fn of_a_chain_only_its_end_goes_alone() {
    let (_directory, store) = store();
    chain(&store, "a", 0, 3).await;
    chain(&store, "b", 40, 0).await;
    // The newest of each month: 1 January 1970 has the first chain's last, 10 February the second's.
    let monthly = Policy { keep: Keep { last: 1, monthly: 2, ..Keep::default() }, grace: 0 };
    assert_eq!(prune(&store, monthly, 50).await, 0);
    assert_eq!(all_whole(&store).await, [4, 1], "the last of the month needs all before it");
    let some = look(&store, Policy { grace: GRACE, ..policy(1) }, 50).await;
    assert_eq!(some.surplus[0].object, "manifests/tank_2Fpg/a/000003.json", "the deepest goes first");
}

#[tokio::test]
async fn what_is_needed_again_is_not_marked_any_more() {
    let (_directory, store) = store();
    chain(&store, "a", 0, 0).await;
    chain(&store, "b", 10, 0).await;
    assert_eq!(prune(&store, policy(1), 20).await, 0);
    assert_eq!(prune(&store, policy(2), 30).await, 0, "both are kept now");
    assert_eq!(prune(&store, policy(1), 31).await, 0, "it has a new grace time");
    assert_eq!(prune(&store, policy(1), 32).await, 4);
    assert_eq!(all_whole(&store).await, [1]);
}

#[tokio::test]
async fn a_get_under_way_has_the_grace_time() {
    let (_directory, store) = store();
    let links = chain(&store, "a", 0, 0).await;
    let reading = Reading { ahead: 1, identities: Identities::default() };
    let mut stream = read(&store, &links[0].manifest.streams[0], &reading);
    assert!(stream.next().await.unwrap().is_some());
    chain(&store, "b", 10, 0).await;
    let immediately = Policy { grace: 600, ..policy(1) };
    assert_eq!(prune(&store, immediately, 20).await, 0);
    assert_eq!(prune(&store, immediately, 20).await, 0);
    while stream.next().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_put_under_way_loses_neither_its_chunks_nor_what_it_adds_to() {
    let (_directory, store) = store();
    let links = chain(&store, "a", 0, 1).await;
    let parent = links[1].as_parent();
    let mut upload = Upload::begin(&store, "going", "tank/pg", Some(parent.clone())).await.unwrap();
    let written = write(&Keeping::new(&store, "going"), 0, once(vec![7; 250]), &how()).await.unwrap();
    // Another machine begins a chain of its own, so that nothing else keeps the first.
    chain(&store, "b", 10, 0).await;
    let at_once = Policy { grace: 0, ..policy(1) };
    for day in [20, 60] {
        assert_eq!(prune(&store, at_once, day).await, 0);
    }
    upload.close().await.unwrap();
    let stream = crate::testing::stream(2, written.chunks, written.sha256);
    let manifest = Manifest { created: 70 * DAY, ..crate::testing::manifest("going", 2, Some(parent), stream) };
    crate::chain::publish(store.as_ref(), "a", &manifest).await.unwrap();
    upload.forget().await.unwrap();
    assert_eq!(all_whole(&store).await, [3, 1]);
}

#[tokio::test]
async fn an_interrupted_put_goes_after_the_grace_time() {
    let (_directory, store) = store();
    chain(&store, "a", 0, 0).await;
    let before = names(&store).await;
    Upload::begin(&store, "gone", "tank/pg", None).await.unwrap();
    write(&Keeping::new(&store, "gone"), 0, once(vec![7; 250]), &how()).await.unwrap();
    crate::uploads::leave(&store, "gone", "gone").await.unwrap();
    // Chunks of which nothing is said any more.
    write(&Keeping::new(&store, "orphan"), 0, once(vec![7; 50]), &how()).await.unwrap();
    // What an upload says of a chunk that others took for dead, and whose records they removed.
    let mark = crate::format::mark_key("lost", 0, 3).unwrap();
    store.put(&mark, Bytes::from_static(b"{}"), Sha256::of(b"{}")).await.unwrap();
    assert_eq!(prune(&store, policy(1), 20).await, 0);
    assert_eq!(prune(&store, policy(1), 21).await, 3, "the upload, the chunk and the mark");
    let left: Vec<_> = names(&store).await.into_iter().filter(|name| !name.starts_with("prune/")).collect();
    assert_eq!(left, before);
}

#[tokio::test]
async fn what_reseed_did_not_write_stays() {
    let (directory, store) = store();
    chain(&store, "a", 0, 0).await;
    chain(&store, "b", 10, 0).await;
    let foreign = [
        "chunks/a/000/notes",
        "chunks/a/000/00000000.zst",
        "manifests/tank_2Fpg/readme.txt",
        "prune/list.txt",
        "uploads/mine.json",
        "other/000000.json",
    ];
    for name in foreign {
        store.put(&Key::new(name).unwrap(), Bytes::from_static(b"mine"), Sha256::of(b"mine")).await.unwrap();
    }
    std::fs::write(directory.path().join("chunks/a/someone's file"), "").unwrap();
    let at_once = Policy { grace: 0, ..policy(1) };
    prune(&store, at_once, 20).await;
    assert_eq!(prune(&store, at_once, 21).await, 4);
    let left = names(&store).await;
    assert!(foreign.iter().all(|name| left.iter().any(|left| left == name)), "{left:?}");
    assert!(directory.path().join("chunks/a/someone's file").exists());
}

#[tokio::test]
async fn nothing_goes_of_what_can_not_be_read_nor_any_chunk_beside_it() {
    let (directory, store) = store();
    chain(&store, "a", 0, 1).await;
    chain(&store, "b", 10, 0).await;
    std::fs::write(directory.path().join("manifests/tank_2Fpg/a/000001.json"), "{").unwrap();
    let before = names(&store).await;
    let at_once = Policy { grace: 0, ..policy(1) };
    assert_eq!(look(&store, at_once, 20).await.left_alone.len(), 2);
    prune(&store, at_once, 20).await;
    assert_eq!(prune(&store, at_once, 21).await, 0);
    assert!(before.iter().all(|name| directory.path().join(name).exists()));
}

/// Stops, as if killed, before one of its changes.
#[derive(Debug)]
struct Killed(Arc<dyn Store>, AtomicUsize);

impl Killed {
    fn act(&self) -> Result<()> {
        match self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::failed("killed")),
        }
    }
}

#[async_trait]
impl Over for Killed {
    fn inner(&self) -> &dyn Store {
        self.0.as_ref()
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        self.act()?;
        self.0.put(key, bytes, sha256).await
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        self.act()?;
        self.0.put_new(key, bytes, sha256).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.act()?;
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn a_cut_at_any_step_leaves_whole_chains_and_the_next_call_does_the_rest() {
    // Marking writes one object and removes the mark before; eight objects go.
    for cut in 0..10 {
        let (_directory, store) = store();
        chain(&store, "a", 0, 1).await;
        chain(&store, "b", 10, 0).await;
        prune(&store, policy(1), 20).await;
        let killed: Arc<dyn Store> = Arc::new(Killed(Arc::clone(&store), AtomicUsize::new(cut)));
        look(&store, policy(1), 21).await.apply(&killed, "killed").await.unwrap_err();
        all_whole(&store).await;
        prune(&store, policy(1), 21).await;
        assert_eq!(all_whole(&store).await, [1], "after {cut} steps");
        assert!(!names(&store).await.iter().any(|name| name.starts_with("chunks/a")), "after {cut} steps");
    }
}
