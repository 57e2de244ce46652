//! What every store holds, by the contract in the docs of the trait.

use std::sync::Arc;

use bytes::Bytes;
use reseed_transport_s3::store::{Key, Sha256, Store};

pub fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Bytes that don't compress and differ by their seed.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

pub async fn put(store: &dyn Store, name: &str, bytes: &Bytes) {
    store.put(&key(name), bytes.clone(), Sha256::of(bytes)).await.unwrap();
}

async fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.unwrap().into_iter().map(|object| object.key.to_string()).collect()
}

/// All of it, in a store that is empty; it is empty again afterwards.
pub async fn holds(store: Arc<dyn Store>) {
    assert_eq!(store.list("").await.unwrap(), []);
    round_trips(&*store).await;
    an_object_is_replaced_by_put_alone(&*store).await;
    one_of_many_creates(&store).await;
    a_wrong_hash_leaves_nothing(&*store).await;
    names_are_listed_in_order(&*store).await;
    many_are_listed(&store).await;
    for object in store.list("").await.unwrap() {
        store.delete(&object.key).await.unwrap();
        store.delete(&object.key).await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), []);
}

async fn round_trips(store: &dyn Store) {
    let absent = key("sizes/absent");
    assert_eq!((store.get(&absent).await.unwrap(), store.size(&absent).await.unwrap()), (None, None));
    for length in [0, 1, 65_537, 9 << 20] {
        let (name, bytes) = (key(&format!("sizes/{length}")), noise(length as u64, length));
        assert!(store.put_new(&name, bytes.clone(), Sha256::of(&bytes)).await.unwrap());
        assert_eq!(store.size(&name).await.unwrap(), Some(length as u64));
        assert!(store.get(&name).await.unwrap() == Some(bytes), "{length} bytes came back otherwise");
    }
}

async fn an_object_is_replaced_by_put_alone(store: &dyn Store) {
    let (name, first, second) = (key("replaced"), noise(1, 100), noise(2, 50));
    put(store, "replaced", &first).await;
    assert!(!store.put_new(&name, second.clone(), Sha256::of(&second)).await.unwrap());
    assert_eq!(store.get(&name).await.unwrap(), Some(first));
    put(store, "replaced", &second).await;
    assert_eq!(store.get(&name).await.unwrap(), Some(second));
}

async fn one_of_many_creates(store: &Arc<dyn Store>) {
    let name = key("raced/manifest");
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (store, name, bytes) = (Arc::clone(store), name.clone(), noise(task, 4000));
            tokio::spawn(async move {
                let stored = store.put_new(&name, bytes.clone(), Sha256::of(&bytes)).await.unwrap();
                stored.then_some(bytes)
            })
        })
        .collect();
    let mut stored = Vec::new();
    for task in tasks {
        stored.extend(task.await.unwrap());
    }
    assert_eq!(stored.len(), 1, "exactly one of them stores the object");
    assert_eq!(store.get(&name).await.unwrap(), stored.pop());
}

async fn a_wrong_hash_leaves_nothing(store: &dyn Store) {
    let (name, bytes, other) = (key("wrong/hash"), noise(1, 5000), Sha256::of(b"other"));
    let error = store.put(&name, bytes.clone(), other).await.unwrap_err();
    assert!(error.chain().contains("SHA-256"), "{}", error.chain());
    store.put_new(&name, bytes, other).await.unwrap_err();
    assert_eq!(store.get(&name).await.unwrap(), None);
    assert_eq!(names(store, "wrong/").await, Vec::<String>::new());
}

async fn names_are_listed_in_order(store: &dyn Store) {
    for name in ["order/b", "order/a/b", "order/a-b", "order/a/a", "order/B", "order/a.b", "orders", "order/a/b.c/d"] {
        put(store, name, &noise(1, 3)).await;
    }
    let all = ["order/B", "order/a-b", "order/a.b", "order/a/a", "order/a/b", "order/a/b.c/d", "order/b"];
    assert_eq!(names(store, "order/").await, all);
    assert_eq!(names(store, "order/a/b").await, ["order/a/b", "order/a/b.c/d"]);
    assert_eq!(names(store, "order/a").await, all[1..6]);
    assert_eq!(names(store, "order").await.len(), 8);
    assert_eq!(names(store, "absent/").await, Vec::<String>::new());
    assert!(store.list("order/").await.unwrap().iter().all(|object| object.size == 3));
}

async fn many_are_listed(store: &Arc<dyn Store>) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1234 {
        let store = Arc::clone(store);
        tasks.spawn(async move { put(&*store, &format!("many/{}/{number:05}", number % 7), &noise(number, 10)).await });
        if tasks.len() == 16 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    tasks.join_all().await;
    let listed = names(&**store, "many/").await;
    assert_eq!(listed.len(), 1234);
    assert!(listed.is_sorted());
}
