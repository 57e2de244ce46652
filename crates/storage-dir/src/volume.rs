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
        let _ = cx.arm(MoveBack { store, live: live.clone(), copy, aside: aside.clone(), was, new });
        let switch = Command::script(SWITCH).titled("switch").args([&self.path, &live, &aside].map(Clone::clone));
        self.store.host.run(switch.as_root()).await?;
        cx.after_commit(Retire { store: self.store.clone(), path: aside, keep: placement.keep_old });
        cx.after_commit(Expire { store: self.store.clone() });
        Ok(())
    }
}
