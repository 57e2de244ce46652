//! What becomes of the directory that was live before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::host::Host;
use reseed_core::register_chore;
use reseed_core::undo::Chore;
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Removes what stepped aside, or notes until when it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Retire {
    pub(crate) store: Store,
    pub(crate) path: String,
    pub(crate) keep: Duration,
}

const REMOVE: &str = r#"[ -e "$1" ] || exit 44; rm -rf -- "$1""#;
/// Notes that `$1` is kept until `$2`, in seconds since 1970.
const NOTE: &str = r#"[ -e "$1" ] || exit 44; printf '%s\n' "$2" > "$1.expires""#;
const ABSENT: i32 = 44;

register_chore!("dir-retire", Retire);

#[async_trait]
impl Chore for Retire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.store.host))
    }

    fn describe(&self) -> String {
        match self.keep.is_zero() {
            true => format!("remove {} on {}", self.path, self.store.host.name()),
            false => format!("keep {} on {} for {} s", self.path, self.store.host.name(), self.keep.as_secs()),
        }
    }

    async fn perform(&self) -> Result<Option<String>> {
        let (path, seconds) = (&self.path, self.keep.as_secs());
        let (command, told) = match self.keep.is_zero() {
            true => (Command::script(REMOVE).titled("remove").arg(path), format!("removed {path}, which was live")),
            false => (
                Command::script(NOTE).titled("note").arg(path).arg((now() + seconds).to_string()),
                format!("kept {path}, which was live before; a run after {seconds} s removes it"),
            ),
        };
        let output = self.store.host.output(command.as_root()).await?;
        if output.exit.code() == Some(ABSENT) {
            return Ok(None);
        }
        output.exit.success_on(self.store.host.name()).map(|()| Some(told))
    }
}

/// Removes what earlier runs set aside, once its time is over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Expire {
    pub(crate) store: Store,
}

/// Prints what it removes of the store `$1` at the time `$2`.
const EXPIRE: &str = r#"for f in "$1"/old-*.expires; do
  [ -e "$f" ] || continue
  until=$(cat -- "$f"); case $until in ''|*[!0-9]*) continue;; esac
  [ "$until" -le "$2" ] || continue
  rm -rf -- "${f%.expires}" && rm -f -- "$f" && echo "${f%.expires}"
done"#;

register_chore!("dir-expire", Expire);

#[async_trait]
impl Chore for Expire {
    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.store.host))
    }

    fn describe(&self) -> String {
        format!("remove expired {}/old-… on {}", self.store.path, self.store.host.name())
    }

    async fn perform(&self) -> Result<Option<String>> {
        let expire = Command::script(EXPIRE).titled("expire").arg(&self.store.path).arg(now().to_string());
        let gone = self.store.host.run(expire.as_root()).await?;
        let gone: Vec<_> = gone.lines().collect();
        Ok((!gone.is_empty()).then(|| format!("removed {}, whose time was over", gone.join(", "))))
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
