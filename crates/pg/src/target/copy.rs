//! The copy before its first start: what must go, what must be empty, what must lead elsewhere.
//!
//! The copy may hold links that lead into the directories of a server that still serves. So every
//! link is replaced and none is followed: what is worked on is always a path in the copy.

use std::sync::Arc;

use reseed_core::host::{Command, Host};
use reseed_core::{Error, Result};

/// `$1` is the data directory, `$2` its greatest mode; the rest are directories of tablespaces.
const CLEAN: &str = r#"set -eu
cd -- "$1"; most=$2; shift 2
own=$(ls -ldn . | awk '{print $3 ":" $4}')
fresh() {
  if [ -L "$1" ]; then rm -f -- "$1"; fi
  [ -d "$1" ] || { mkdir -m 700 -- "$1"; [ "$(id -u)" != 0 ] || chown "$own" "$1"; }
}
rm -f -- postmaster.pid postmaster.opts backup_label* tablespace_map* backup_manifest* \
  postgresql.auto.conf.tmp current_logfiles current_logfiles.tmp \
  recovery.signal standby.signal recovery.conf recovery.done promote fallback_promote \
  global/pg_internal.init* base/*/pg_internal.init*
rm -rf -- base/pgsql_tmp*
for t; do rm -f -- "$t"/PG_*/*/pg_internal.init*; rm -rf -- "$t"/PG_*/pgsql_tmp*; done
for e in pg_replslot pg_dynshmem pg_notify pg_serial pg_snapshots pg_stat_tmp pg_subtrans; do fresh "$e"; done
find pg_replslot/ pg_dynshmem/ pg_notify/ pg_serial/ pg_snapshots/ pg_stat_tmp/ pg_subtrans/ -mindepth 1 -delete
mode=$(stat -c %a . 2>/dev/null || stat -f %Lp .)
[ "$mode" = 700 ] || [ "$mode" = "$most" ] || chmod 700 ."#;

/// `$1` is `pg_wal` in the data directory, `$2` where its content is now, `$3` where it will be if
/// `pg_wal` is a link, `$4` whether the content is there.
const WAL: &str = r#"set -eu
own=$(ls -ldn -- "$(dirname -- "$1")" | awk '{print $3 ":" $4}')
mine() { [ "$(id -u)" != 0 ] || chown -h "$own" "$1"; }
make() { [ -d "$1" ] || { mkdir -p -m 700 -- "$1"; mine "$1"; }; }
if [ -L "$1" ]; then rm -f -- "$1"; fi
if [ -n "$3" ]; then
  [ ! -d "$1" ] || rmdir -- "$1"
  ln -s -- "$3" "$1"; mine "$1"
else make "$1"; fi
make "$2"
segments=$(ls -- "$2" | grep -cE '^[0-9A-F]{24}$' || :)
if [ "$4" = yes ]; then [ "$segments" -gt 0 ] || exit 48
else [ "$segments" -eq 0 ] || exit 49; mine "$2"; chmod 700 -- "$2"; fi
make "$2/archive_status"
for f in "$2"/archive_status/*.ready; do
  if [ -e "$f" ]; then mv -f -- "$f" "${f%.ready}.done"; fi
done"#;

/// `$1` is `pg_tblspc`, then OID and path of each tablespace.
const LINKS: &str = r#"set -eu
cd -- "$1"; shift
own=$(ls -ldn . | awk '{print $3 ":" $4}')
for l in *; do
  [ -L "$l" ] || continue
  case " $(i=0; for a; do i=$((i+1)); [ $((i % 2)) = 0 ] || printf '%s ' "$a"; done)" in
    *" $l "*) ;;
    *) echo "$l"; exit 50;;
  esac
done
while [ $# -gt 1 ]; do
  rm -f -- "$1"; ln -s -- "$2" "$1"; [ "$(id -u)" != 0 ] || chown -h "$own" "$1"
  shift 2
done"#;

/// `$1` is the user, the rest directories that shall be its own.
const OWN: &str = r#"set -eu
u=$1; shift; g=$(id -gn -- "$u")
for d; do
  o=$(stat -L -c %U -- "$d" 2>/dev/null || stat -L -f %Su -- "$d")
  [ "$o" = "$u" ] || find "$d" ! -user "$u" -exec chown -h "$u:$g" {} +
done"#;

const NO_SEGMENT: i32 = 48;
const STALE_SEGMENTS: i32 = 49;
const NEW_TABLESPACE: i32 = 50;

/// A copy on a machine.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    /// The machine.
    pub(crate) host: Arc<dyn Host>,
    /// Its data directory.
    pub(crate) data: String,
}

impl Copy {
    /// Removes what belonged to the source's server and must not be found by another.
    ///
    /// # Errors
    /// When something can't be removed.
    pub(crate) async fn clean(&self, major: u32, tablespaces: &[String]) -> Result<()> {
        // Access for the group is allowed from version 11 on.
        let most = if major < 11 { "700" } else { "750" };
        let clean = Command::script(CLEAN).arg(&self.data).arg(most).args(tablespaces);
        self.host.run(clean.as_root()).await.map(drop)
    }

    /// Makes `pg_wal` a link to `link`, or a directory, and `content`, where its files are now, such
    /// that nothing of it is archived again. Where the content was left behind it must be empty.
    ///
    /// # Errors
    /// When WAL is missing that must be there, or there that must be missing.
    pub(crate) async fn settle_wal(&self, content: &str, link: Option<&str>, included: bool) -> Result<()> {
        let script = Command::script(WAL).arg(format!("{}/pg_wal", self.data)).arg(content);
        let script = script.arg(link.unwrap_or_default()).arg(if included { "yes" } else { "no" });
        let exit = self.host.output(script.as_root()).await?.exit;
        let name = self.host.name();
        match exit.code() {
            Some(NO_SEGMENT) => Err(Error::failed(format!("{content} on {name} holds no WAL, but must"))
                .hint("the snapshot did not hold pg_wal: see where it is on the primary")),
            Some(STALE_SEGMENTS) => Err(Error::failed(format!("{content} on {name} holds WAL of another time"))
                .hint(format!("look at it, and if it is of no use: rm {content}/0*"))),
            _ => exit.success_on(name),
        }
    }

    /// Sets the links in `pg_tblspc`.
    ///
    /// # Errors
    /// When the copy has a tablespace that is not among these.
    pub(crate) async fn link_tablespaces(&self, tablespaces: &[(u32, String)]) -> Result<()> {
        let pairs = tablespaces.iter().flat_map(|(oid, path)| [oid.to_string(), path.clone()]);
        let links = Command::script(LINKS).arg(format!("{}/pg_tblspc", self.data)).args(pairs);
        let output = self.host.output(links.as_root()).await?;
        if output.exit.code() == Some(NEW_TABLESPACE) {
            let error = format!("the tablespace {} was created after the primary was looked at", output.text().trim());
            return Err(Error::failed(error).hint("run it again"));
        }
        output.exit.success_on(self.host.name())
    }

    /// Gives everything to the server's user, where the source's has another number.
    ///
    /// # Errors
    /// When the user is not there or may not be given files.
    pub(crate) async fn give_to(&self, user: &str, directories: &[String]) -> Result<()> {
        self.host.run(Command::script(OWN).arg(user).args(directories).as_root()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    use reseed_core::host::{LocalConfig, LocalHost};

    use super::*;

    /// A copy with everything in it that must go, and links into the directories of a live server.
    struct Scene {
        root: PathBuf,
        copy: Copy,
    }

    impl Scene {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("reseed copy's {name} {}", std::process::id()));
            for directory in ["live/wal/archive_status", "live/stat", "live/ts", "copy/base/1", "copy/base/pgsql_tmp"] {
                fs::create_dir_all(root.join(directory)).unwrap();
            }
            for directory in ["copy/global", "copy/pg_replslot/old", "copy/pg_tblspc", "ts/PG_15_1/pgsql_tmp"] {
                fs::create_dir_all(root.join(directory)).unwrap();
            }
            for file in ["wal/000000010000000000000001", "wal/archive_status/1.ready", "stat/db.stat", "ts/precious"] {
                fs::write(root.join("live").join(file), "live").unwrap();
            }
            symlink(root.join("live/wal"), root.join("copy/pg_wal")).unwrap();
            symlink(root.join("live/stat"), root.join("copy/pg_stat_tmp")).unwrap();
            symlink(root.join("live/ts"), root.join("copy/pg_tblspc/16384")).unwrap();
            let data = root.join("copy").to_str().unwrap().to_owned();
            let host = Arc::new(LocalHost::new("local", &LocalConfig::default()));
            Self { root, copy: Copy { host, data } }
        }

        fn path(&self, name: &str) -> String {
            self.root.join(name).to_str().unwrap().to_owned()
        }

        /// That nothing of the live server was touched.
        fn live_is_whole(&self) {
            for file in ["wal/000000010000000000000001", "wal/archive_status/1.ready", "stat/db.stat", "ts/precious"] {
                assert!(self.root.join("live").join(file).exists(), "{file}");
            }
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.root));
        }
    }

    fn names(directory: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_belonged_to_another_server_goes_and_no_link_is_followed() {
        let scene = Scene::new("clean");
        let gone = "postmaster.pid postmaster.opts backup_label backup_label.old tablespace_map backup_manifest \
                    postgresql.auto.conf.tmp recovery.signal standby.signal recovery.conf promote current_logfiles \
                    global/pg_internal.init base/1/pg_internal.init.77 base/pgsql_tmp/x pg_replslot/old/state";
        let stays = ["PG_VERSION", "postgresql.conf", "base/1/1259", "global/pg_control"];
        for file in gone.split_whitespace().chain(stays) {
            fs::write(scene.root.join("copy").join(file), "x").unwrap();
        }
        fs::write(scene.root.join("ts/PG_15_1/pgsql_tmp/x"), "x").unwrap();
        fs::set_permissions(scene.root.join("copy"), fs::Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            scene.copy.clean(15, &[scene.path("ts")]).await.unwrap();
        }
        for file in gone.split_whitespace() {
            assert!(!scene.root.join("copy").join(file).exists(), "{file}");
        }
        for file in stays {
            assert!(scene.root.join("copy").join(file).exists(), "{file}");
        }
        assert!(names(scene.root.join("ts/PG_15_1")).is_empty());
        let emptied = ["dynshmem", "notify", "replslot", "serial", "snapshots", "stat_tmp", "subtrans"];
        for directory in emptied.map(|name| scene.root.join("copy").join(format!("pg_{name}"))) {
            let metadata = directory.symlink_metadata().unwrap();
            assert!(metadata.is_dir() && names(&directory).is_empty(), "{}", directory.display());
        }
        assert_eq!(fs::metadata(scene.root.join("copy")).unwrap().permissions().mode() & 0o777, 0o700);
        scene.live_is_whole();
    }

    #[tokio::test]
    async fn wal_leads_to_its_place_and_is_not_archived_again() {
        let scene = Scene::new("wal");
        let (content, place) = (scene.path("received wal"), "/place/of the wal".to_owned());
        let left_out = |included| scene.copy.settle_wal(&content, Some(&place), included);
        assert!(left_out(true).await.unwrap_err().to_string().contains("holds no WAL, but must"));
        left_out(false).await.unwrap();
        assert_eq!(fs::read_link(scene.root.join("copy/pg_wal")).unwrap(), Path::new(&place));
        assert_eq!(names(&content), ["archive_status"]);
        fs::write(scene.root.join("received wal/000000010000000000000002"), "x").unwrap();
        fs::write(scene.root.join("received wal/archive_status/a.ready"), "").unwrap();
        assert!(left_out(false).await.unwrap_err().to_string().contains("WAL of another time"));
        left_out(true).await.unwrap();
        assert_eq!(names(scene.root.join("received wal/archive_status")), ["a.done"]);
        scene.live_is_whole();
    }

    #[tokio::test]
    async fn wal_inside_the_data_directory_is_a_directory_again() {
        let scene = Scene::new("inside");
        let inside = scene.path("copy/pg_wal");
        scene.copy.settle_wal(&inside, None, false).await.unwrap();
        assert!(fs::symlink_metadata(&inside).unwrap().is_dir());
        assert_eq!(names(&inside), ["archive_status"]);
        scene.live_is_whole();
    }

    #[tokio::test]
    async fn tablespaces_lead_to_their_places_and_an_unknown_one_is_told() {
        let scene = Scene::new("links");
        scene.copy.link_tablespaces(&[(16384, "/new place".into()), (2, "/b".into())]).await.unwrap();
        let link = |oid: &str| fs::read_link(scene.root.join("copy/pg_tblspc").join(oid)).unwrap();
        assert_eq!((link("16384").to_str(), link("2").to_str()), (Some("/new place"), Some("/b")));
        let error = scene.copy.link_tablespaces(&[(16384, "/x".into())]).await.unwrap_err();
        assert_eq!(error.to_string(), "the tablespace 2 was created after the primary was looked at");
        scene.live_is_whole();
    }
}
