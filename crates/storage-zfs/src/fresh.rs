//! Empty datasets in the place of those whose content stayed behind, and the properties that a copy
//! takes over from what it replaces.

use reseed_core::Result;
use reseed_core::host::Command;
use reseed_core::item::Wanted;
use reseed_core::stage::StageCx;

use crate::parse::below;
use crate::zfs::Zfs;

/// Properties that belong to one dataset and not to the next one of its name, or that can't be set
/// on a clone.
const OWN: &[&str] = &[
    "mountpoint",
    "canmount",
    "readonly",
    "reservation",
    "refreservation",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
    "version",
    "utf8only",
    "normalization",
    "casesensitivity",
    "volsize",
    "volblocksize",
    "zoned",
    "jailed",
    "filesystem_limit",
    "snapshot_limit",
    "filesystem_count",
    "snapshot_count",
    "mlslabel",
];

/// Properties that are set on a dataset itself and that its successor takes over; none where there
/// is no such dataset.
pub(crate) async fn inheritance(zfs: &Zfs, dataset: &str) -> Result<Vec<(String, String)>> {
    let all = zfs.properties(dataset, "all").await?;
    let local = all.into_iter().filter(|(_, property)| property.source == "local");
    let kept = local.filter(|(name, _)| !OWN.contains(&name.as_str()) && !name.starts_with("reseed:"));
    Ok(kept.map(|(name, property)| (name, property.value)).collect())
}

/// A directory on a source's dataset and the directory that it is in its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Mount point on the source.
    pub(crate) source: String,
    /// Mount point of the copy.
    pub(crate) copy: String,
}

impl Mirror {
    /// Where a path of the source is in the copy, if it lies in it.
    pub(crate) fn locate(&self, path: &str) -> Option<String> {
        below(path, &self.source).map(|rest| format!("{}{rest}", self.copy.trim_end_matches('/')))
    }
}

/// Where a path of the source is now: in the copy of the deepest mount above it.
pub(crate) fn locate(mirrors: &[Mirror], path: &str) -> Option<String> {
    let above = mirrors.iter().filter(|mirror| below(path, &mirror.source).is_some());
    above.max_by_key(|mirror| mirror.source.len())?.locate(path)
}

/// Makes directories that are owned and open as a given one is.
const LIKE: &str = r#"set -e; o=$1; m=$2; shift 2
for d; do mkdir -p -- "$d"; chown -- "$o" "$d"; chmod -- "$m" "$d"; done"#;

/// Makes the directories of the wanted pieces in an empty dataset, owned as the main piece is.
pub(crate) async fn furnish(zfs: &Zfs, empty: &Mirror, all: &[Mirror], cx: &StageCx) -> Result<()> {
    let Some(wanted) = cx.board().get::<Wanted>() else { return Ok(()) };
    let main = wanted.0.first().and_then(|main| locate(all, &main.path));
    let Some(main) = main else { return Ok(()) };
    let Some(like) = zfs.host().files().attributes(&main).await? else { return Ok(()) };
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
    zfs.host().run(command.as_root()).await?;
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
