//! What was received, and the switch: the live directory steps aside and the copy takes its place.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::{Command, Host};
use reseed_core::item::{Placement, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use reseed_pg::basebackup::DATA;

use crate::old::{Expire, Retire};
use crate::store::Store;
use crate::undo::MoveBack;

/// Prints the inodes of `$1` and `$2`, each on a line; an empty one where nothing is.
const INODES: &str = r#"for d; do
  if [ -d "$d" ]; then stat -c %i -- "$d" 2>/dev/null || stat -f %i -- "$d"; else echo; fi
done"#;

/// Puts the copy `$1` at `$2` and what was there at `$3`: by one exchange where `mv` can do that, so
/// that at no time nothing is there, else by two renames.
const SWITCH: &str = r#"set -e; copy=$1; live=$2; aside=$3
[ ! -e "$aside" ] || { echo "$aside is there already" >&2; exit 1; }
if [ -d "$live" ] && mv --help 2>/dev/null | grep -q -e ' --exchange'; then
  mv --exchange -T -- "$copy" "$live"; mv -T -- "$copy" "$aside"
else
  [ ! -e "$live" ] || mv -- "$live" "$aside"
  mv -- "$copy" "$live"
fi
for d in "$(dirname -- "$live")" "$(dirname -- "$aside")"; do sync -- "$d" 2>/dev/null || sync; done"#;

/// The copy, ready to be configured.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) store: Store,
    pub(crate) path: String,
    pub(crate) run: String,
}

/// Inodes of directories; empty where there is none.
pub(crate) async fn inodes(host: &dyn Host, paths: [&str; 2]) -> Result<[String; 2]> {
    let text = host.run(Command::script(INODES).titled("inodes").args(paths).as_root()).await?;
    let mut lines = text.lines().map(str::to_owned);
    Ok([lines.next().unwrap_or_default(), lines.next().unwrap_or_default()])
}

#[async_trait]
impl Volume for Copy {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.store.host)
    }

    fn locate(&self, source: &str) -> Option<String> {
        (source == DATA).then(|| self.path.clone())
    }

    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()> {
        let [place] = placement.places.as_slice() else {
            return Err(Error::failed("a base backup has one place, its data directory's"));
        };
        let (live, aside) = (place.target.clone(), self.store.old(&self.run));
        let [was, new] = inodes(self.store.host.as_ref(), [&live, &self.path]).await?;
        if new.is_empty() {
            return Err(Error::failed(format!("{} is gone", self.path)));
        }
        let (store, copy) = (self.store.clone(), self.path.clone());
        cx.arm(MoveBack { store, live: live.clone(), copy, aside: aside.clone(), was, new })?;
        let switch = Command::script(SWITCH).titled("switch").args([&self.path, &live, &aside].map(Clone::clone));
        self.store.host.run(switch.as_root()).await?;
        cx.after_commit(Retire { store: self.store.clone(), path: aside, keep: placement.keep_old })?;
        cx.after_commit(Expire { store: self.store.clone() })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use reseed_core::host::{LocalConfig, LocalHost};
    use reseed_core::undo::Undo;

    use super::*;

    /// A `mv` that can exchange two directories, where the system's own can't.
    const EXCHANGING: &str = r#"#!/bin/sh
case $1 in
  --help) echo "      --exchange       exchange source and destination";;
  --exchange) /bin/mv -- "$4" "$5.x" && /bin/mv -- "$5" "$4" && /bin/mv -- "$5.x" "$5" && : > "$(dirname "$0")/used";;
  *) exec /bin/mv "$@";;
esac
"#;

    struct Scene(PathBuf);

    impl Scene {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("reseed it's {name} {}", std::process::id()));
            drop(fs::remove_dir_all(&root));
            for (directory, file) in [("live", "old"), ("store/copy-1", "new")] {
                fs::create_dir_all(root.join(directory)).unwrap();
                fs::write(root.join(directory).join(file), "").unwrap();
            }
            Self(root)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        fn has(&self, name: &str) -> bool {
            self.0.join(name).exists()
        }

        fn host() -> Arc<dyn Host> {
            Arc::new(LocalHost::new("local", &LocalConfig::default()))
        }

        fn switch(&self) -> Command {
            let path = format!("PATH={}:/usr/bin:/bin", self.path("programs"));
            let places = ["store/copy-1", "live", "store/old-1"].map(|name| self.path(name));
            Command::new("env").arg(path).args(["sh", "-c", SWITCH, "sh"]).args(places)
        }

        async fn undo(&self) -> MoveBack {
            let [live, copy, aside] = ["live", "store/copy-1", "store/old-1"].map(|name| self.path(name));
            let [was, new] = inodes(Self::host().as_ref(), [&live, &copy]).await.unwrap();
            let store = Store { host: Self::host(), path: self.path("store") };
            MoveBack { store, live, copy, aside, was, new }
        }

        fn exchanging(&self) {
            use std::os::unix::fs::PermissionsExt;
            fs::create_dir(self.0.join("programs")).unwrap();
            fs::write(self.0.join("programs/mv"), EXCHANGING).unwrap();
            fs::set_permissions(self.0.join("programs/mv"), fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn switched(&self) -> bool {
            self.has("live/new") && self.has("store/old-1/old") && !self.has("store/copy-1")
        }

        fn as_it_was(&self) -> bool {
            self.has("live/old") && self.has("store/copy-1/new") && !self.has("store/old-1")
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[tokio::test]
    async fn directories_change_places_and_back() {
        for exchange in [false, true] {
            let scene = Scene::new(if exchange { "exchange" } else { "renames" });
            if exchange {
                scene.exchanging();
            }
            let undo = scene.undo().await;
            Scene::host().run(scene.switch()).await.unwrap();
            assert!(scene.switched());
            assert_eq!(scene.has("programs/used"), exchange);
            assert!(Scene::host().run(scene.switch()).await.is_err(), "what stepped aside is in the way");
            for _ in 0..2 {
                undo.undo().await.unwrap();
                assert!(scene.as_it_was());
            }
        }
    }

    #[tokio::test]
    async fn every_half_way_state_is_taken_back() {
        let steps: [&[(&str, &str)]; 3] =
            [&[], &[("live", "store/old-1")], &[("live", "x"), ("store/copy-1", "live"), ("x", "store/copy-1")]];
        for (index, steps) in steps.into_iter().enumerate() {
            let scene = Scene::new(&format!("half {index}"));
            let undo = scene.undo().await;
            for (from, to) in steps {
                fs::rename(scene.0.join(from), scene.0.join(to)).unwrap();
            }
            for _ in 0..2 {
                undo.undo().await.unwrap();
                assert!(scene.as_it_was(), "{index}");
            }
        }
    }

    #[tokio::test]
    async fn a_first_seeding_is_taken_back_and_nothing_else_is_touched() {
        let scene = Scene::new("first");
        fs::remove_dir_all(scene.0.join("live")).unwrap();
        let undo = scene.undo().await;
        Scene::host().run(scene.switch()).await.unwrap();
        assert!(scene.has("live/new") && !scene.has("store/old-1"));
        undo.undo().await.unwrap();
        assert!(!scene.has("live") && scene.has("store/copy-1/new"));
        fs::create_dir(scene.0.join("live")).unwrap();
        undo.undo().await.unwrap();
        assert!(scene.has("live"), "what someone else made since");
    }

    #[tokio::test]
    async fn what_was_live_is_never_removed_with_the_copy() {
        use crate::undo::RemoveTree;
        let scene = Scene::new("spare");
        let MoveBack { store, was, .. } = scene.undo().await;
        fs::rename(scene.0.join("live"), scene.0.join("store/copy-2")).unwrap();
        let remove = |name: &str| RemoveTree { store: store.clone(), path: scene.path(name), spare: was.clone() };
        assert!(remove("store/copy-2").undo().await.is_err());
        assert!(scene.has("store/copy-2/old"));
        for _ in 0..2 {
            remove("store/copy-1").undo().await.unwrap();
            assert!(!scene.has("store/copy-1"));
        }
    }
}
