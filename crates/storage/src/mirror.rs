//! Where the directories of the source are in the copy, and empty ones in the place of what stayed
//! behind.

use reseed_core::Result;
use reseed_core::host::{Command, Host};
use reseed_core::item::Wanted;
use reseed_core::stage::StageCx;

use crate::below;

/// A directory on a source's volume and the directory that it is in its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Mount point on the source.
    pub source: String,
    /// Mount point of the copy.
    pub copy: String,
}

impl Mirror {
    /// Where a path of the source is in the copy, if it lies in it.
    pub fn locate(&self, path: &str) -> Option<String> {
        below(path, &self.source).map(|rest| format!("{}{rest}", self.copy.trim_end_matches('/')))
    }
}

/// Where a path of the source is now: in the copy of the deepest mount above it.
pub fn locate(mirrors: &[Mirror], path: &str) -> Option<String> {
    let above = mirrors.iter().filter(|mirror| below(path, &mirror.source).is_some());
    above.max_by_key(|mirror| mirror.source.len())?.locate(path)
}

/// Makes directories that are owned and open as a given one is.
const LIKE: &str = r#"set -e; o=$1; m=$2; shift 2
for d; do mkdir -p -- "$d"; chown -- "$o" "$d"; chmod -- "$m" "$d"; done"#;

/// Makes the directories of the wanted pieces in an empty volume, owned as the main piece is.
///
/// # Errors
/// When the host refuses.
pub async fn furnish(host: &dyn Host, empty: &Mirror, all: &[Mirror], cx: &StageCx) -> Result<()> {
    let Some(wanted) = cx.board().get::<Wanted>() else { return Ok(()) };
    let main = wanted.0.first().and_then(|main| locate(all, &main.path));
    let Some(main) = main else { return Ok(()) };
    let Some(like) = host.files().attributes(&main).await? else { return Ok(()) };
    let mut directories = vec![empty.copy.clone()];
    for piece in &wanted.0 {
        let Some(rest) = below(&piece.path, &empty.source) else { continue };
        let mut path = empty.copy.clone();
        for part in rest.split('/').filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
            directories.push(path.clone());
        }
    }
    let owner = format!("{}:{}", like.owner, like.group);
    let command = Command::script(LIKE).arg(owner).arg(format!("{:o}", like.mode)).args(directories);
    host.run(command.as_root()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_the_deepest_copy() {
        let mirror = |source: &str, copy: &str| Mirror { source: source.into(), copy: copy.into() };
        let all = [mirror("/ta/pg", "/r/ta/pg"), mirror("/ta/pg/wal", "/other/wal"), mirror("/", "/r/")];
        assert_eq!(locate(&all, "/ta/pg/data").as_deref(), Some("/r/ta/pg/data"));
        assert_eq!(locate(&all, "/ta/pg/wal").as_deref(), Some("/other/wal"));
        assert_eq!(locate(&all, "/etc").as_deref(), Some("/r/etc"));
        assert_eq!(locate(&all[..2], "/etc"), None);
    }
}
