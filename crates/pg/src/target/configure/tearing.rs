//! Whether a crash of the standby's machine could tear pages that nothing would mend.

use reseed_core::host::{Command, Host};
use reseed_core::item::Landing;
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use crate::facts::Source;
use crate::target::survey::Standby;

/// Prints the type of the file system that holds `$1`, or that would.
const TYPE: &str = r#"d=$1
while [ ! -e "$d" ]; do d=$(dirname -- "$d"); done
case $(uname -s) in
  Linux) stat -f -c %T -- "$d";;
  *) df -T -- "$d" | awk 'NR == 2 { print $2 }';;
esac"#;

/// File systems that never overwrite a block in place.
const COPY_ON_WRITE: [&str; 3] = ["zfs", "btrfs", "bcachefs"];

/// Refuses a primary without full pages for a standby on a storage that overwrites in place.
///
/// # Errors
/// A refusal.
pub(super) async fn judge(allowed: bool, source: &Source, standby: &Standby, cx: &CheckCx) -> Result<()> {
    if allowed || source.full_page_writes {
        return Ok(());
    }
    let landing = cx.board().get::<Landing>();
    if landing.as_ref().is_some_and(|landing| landing.copy_on_write) {
        return Ok(());
    }
    let (host, directory) = (standby.cluster.host.as_ref(), &standby.data_directory);
    let found = file_system(host, directory).await?;
    if landing.is_none() && COPY_ON_WRITE.contains(&found.as_str()) {
        return Ok(());
    }
    let refusal = Error::refused(format!(
        "the primary runs with full_page_writes = off, and {directory} on {} lies on {found}, where a crash could \
         leave torn pages",
        host.name()
    ))
    .hint(
        "on the primary: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();  or accept it: \
         `allow_torn_pages = true` in the stage pg-configure",
    );
    // A storage that could not be surveyed may still be one that never overwrites.
    Err(if landing.is_some() { refusal } else { refusal.follow_up() })
}

async fn file_system(host: &dyn Host, directory: &str) -> Result<String> {
    let text = host.run(Command::script(TYPE).arg(directory).as_root()).await?;
    Ok(text.trim().to_owned())
}
