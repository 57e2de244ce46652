//! A repository in a directory of this machine: `file:///path`.

mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::{Error, Result};
use tokio::sync::RwLock;

use super::{Key, Object, Sha256, Store};
use tree::Tree;

/// Objects as files below a directory, each object's name being its path.
///
/// The directory must be there: a backup disk that is not mounted is told, not written beside.
/// Files are made with mode 0600 and directories with 0700; nothing is followed out of the directory
/// by a symbolic link. An object is written beside its place, brought to the disk and only then given
/// its name, so that a cut at any point leaves at most a file whose name begins with a dot, which is
/// no object.
#[derive(Debug, Clone)]
pub struct FileStore {
    tree: Arc<Tree>,
    /// Held by each write until it is done, also by one that nobody waits for any more: a listing waits
    /// for those that began before it, so that what takes an upload back finds all of it.
    writing: Arc<RwLock<()>>,
}

impl FileStore {
    /// A store in this directory. Nothing is touched before the first call.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { tree: Arc::new(Tree::new(root.into())), writing: Arc::default() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.tree.root()
    }

    /// Writes beside the runtime.
    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Tree) -> Result<T> + Send + 'static) -> Result<T> {
        let writing = Arc::clone(&self.writing).read_owned().await;
        self.blocking(move |tree| {
            let done = work(tree);
            drop(writing);
            done
        })
        .await
    }

    /// Runs work that blocks beside the runtime.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Tree) -> Result<T> + Send + 'static) -> Result<T> {
        let tree = Arc::clone(&self.tree);
        let done = tokio::task::spawn_blocking(move || work(&tree)).await;
        done.map_err(|error| Error::failed(format!("work on {} broke off", self.url())).because(error))?
    }
}

#[async_trait]
impl Store for FileStore {
    fn url(&self) -> String {
        format!("file://{}", self.root().display())
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        let key = key.clone();
        self.write(move |tree| {
            sha256.check(&key, &bytes)?;
            tree.replace(&key, &bytes)
        })
        .await
    }

    async fn put_new(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<bool> {
        let key = key.clone();
        self.write(move |tree| {
            sha256.check(&key, &bytes)?;
            tree.create(&key, &bytes)
        })
        .await
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let key = key.clone();
        self.blocking(move |tree| Ok(tree.read(&key)?.map(Bytes::from))).await
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        let key = key.clone();
        self.blocking(move |tree| tree.size(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let prefix = prefix.to_owned();
        drop(self.writing.write().await);
        self.blocking(move |tree| tree.list(&prefix)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.blocking(move |tree| tree.delete(&key)).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::task::Poll;

    use super::*;

    fn store() -> (tempfile::TempDir, FileStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path());
        (directory, store)
    }

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    async fn put(store: &FileStore, name: &str) -> Result<()> {
        let bytes = Bytes::from(name.to_owned());
        store.put(&key(name), bytes.clone(), Sha256::of(&bytes)).await
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_owner_can_read_what_is_kept() {
        let (directory, store) = store();
        put(&store, "a/b/c").await.unwrap();
        assert_eq!(mode(&directory.path().join("a/b/c")), 0o600);
        assert_eq!((mode(&directory.path().join("a")), mode(&directory.path().join("a/b"))), (0o700, 0o700));
    }

    #[tokio::test]
    async fn nothing_is_left_beside_an_object() {
        let (directory, store) = store();
        put(&store, "a/b").await.unwrap();
        let bytes = Bytes::from_static(b"x");
        assert!(!store.put_new(&key("a/b"), bytes.clone(), Sha256::of(&bytes)).await.unwrap());
        assert!(store.put(&key("a/c"), bytes, Sha256([0; 32])).await.is_err());
        assert_eq!(directory.path().join("a").read_dir().unwrap().count(), 1);
    }

    /// A stage that is cancelled is dropped, and its writes with it: the system does them all the same.
    #[tokio::test]
    async fn a_listing_has_what_was_on_its_way_when_its_writer_was_dropped() {
        let (_directory, store) = store();
        let (bytes, mut begun) = (Bytes::from(vec![7; 1 << 20]), vec![]);
        for number in 0..20 {
            let (key, sha256) = (key(&format!("a/{number}")), Sha256::of(&bytes));
            let mut put = store.put(&key, bytes.clone(), sha256);
            assert!(std::future::poll_fn(|cx| Poll::Ready(put.as_mut().poll(cx))).await.is_pending());
            begun.push(key.clone());
        }
        let listed: Vec<_> = store.list("a/").await.unwrap().into_iter().map(|object| object.key).collect();
        assert!(begun.iter().all(|key| listed.contains(key)), "{listed:?}");
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_no_object() {
        let (directory, store) = store();
        put(&store, "a/b").await.unwrap();
        std::fs::write(directory.path().join("a/.reseed-1-2.tmp"), "half").unwrap();
        std::fs::write(directory.path().join("a/someone's note"), "").unwrap();
        let names: Vec<_> = store.list("").await.unwrap().into_iter().map(|object| object.key.to_string()).collect();
        assert_eq!(names, ["a/b"]);
    }

    #[tokio::test]
    async fn no_symbolic_link_leads_out() {
        let (directory, store) = store();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), directory.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), directory.path().join("file")).unwrap();
        for name in ["out/secret", "file"] {
            let error = store.get(&key(name)).await.unwrap_err();
            assert!(error.chain().contains("symbolic link"), "{}", error.chain());
            assert!(store.size(&key(name)).await.is_err());
        }
        assert!(put(&store, "out/new").await.is_err());
        assert!(!outside.path().join("new").exists());
        assert_eq!(store.list("").await.unwrap(), []);
        assert_eq!(store.list("out/").await.unwrap(), []);
        // A name is replaced or removed, not what it leads to.
        put(&store, "file").await.unwrap();
        assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_told_and_not_made() {
        let (directory, _) = store();
        let absent = FileStore::new(directory.path().join("absent"));
        let errors = [put(&absent, "a").await.unwrap_err(), absent.list("").await.unwrap_err()];
        for error in errors {
            assert!(error.hint_text().is_some_and(|hint| hint.contains("mkdir")), "{}", error.chain());
        }
        assert!(!directory.path().join("absent").exists());
    }

    #[tokio::test]
    async fn a_name_below_an_object_and_a_name_above_some_are_absent() {
        let (_directory, store) = store();
        put(&store, "a/b").await.unwrap();
        for name in ["a", "a/b/c", "x/y"] {
            assert_eq!(store.get(&key(name)).await.unwrap(), None);
            assert_eq!(store.size(&key(name)).await.unwrap(), None);
            store.delete(&key(name)).await.unwrap();
        }
        assert!(put(&store, "a/b/c").await.is_err());
        assert!(put(&store, "a").await.is_err());
    }
}
