//! Where the snapshots of a subvolume are kept, and whether it can have some that are told apart.

use reseed_core::{Error, Result};
use reseed_storage::{Part, name};

use crate::table::Table;

/// The directory's name where none is given.
const DIRECTORY: &str = ".reseed";

/// The directory of one subvolume's snapshots.
pub(super) fn home(table: &Table, part: &Part, asked: Option<&str>) -> Result<String> {
    let path = part.dataset.as_str();
    let home = match asked {
        Some(directory) => format!("{directory}{}", if path == "/" { "/root" } else { path }),
        None if table.is_mount(path) => inside(part)?,
        None => format!("{}/{DIRECTORY}/{}", name::parent(path).unwrap_or_default(), name::last(path)),
    };
    if table.filesystem_of(&home) == table.filesystem_of(path) {
        return Ok(home);
    }
    let error = Error::refused(format!("{home} is not on the file system of {path}"));
    Err(error.hint("name a directory on it by `directory` in the stage btrfs-snapshot"))
}

/// In a mount point's own subvolume, unless the data is right there.
fn inside(part: &Part) -> Result<String> {
    let path = part.dataset.trim_end_matches('/');
    match part.pieces.iter().find(|piece| piece.path == part.dataset) {
        None => Ok(format!("{path}/{DIRECTORY}/snapshots")),
        Some(piece) => {
            let error =
                Error::refused(format!("{} ({path}) is a mount point, and snapshots can't lie in it", piece.role));
            Err(error.hint(
                "mount the file system's top level too (`mount -o subvolid=5 DEVICE /mnt/top`) and say \
                 `directory = \"/mnt/top/.reseed\"` in the stage btrfs-snapshot",
            ))
        }
    }
}

/// Refuses a subvolume whose snapshots would all have one identity.
pub(super) fn original(table: &Table, part: &Part) -> Result<()> {
    let seen = table.at(&part.dataset).filter(|seen| seen.subvolume.received.is_some());
    seen.map_or(Ok(()), |_| Err(taken_over(&part.dataset)))
}

/// The refusal of a subvolume that was received, and then made writable.
pub(super) fn taken_over(path: &str) -> Error {
    let error = Error::refused(format!(
        "{path} was received and then made writable, so that it still has a received UUID: its snapshots would all \
         have it, and increments would start from the wrong one"
    ));
    error.hint(format!(
        "stop the server, make it a snapshot, which has none, and start it there: `btrfs subvolume snapshot {path} \
         {path}.new && mv {path} {path}.old && mv {path}.new {path}`"
    ))
}

#[cfg(test)]
mod tests {
    use reseed_core::item::Piece;

    use super::*;
    use crate::parse::{Filesystem, Subvolume, mounted};

    fn table() -> Table {
        let mounts = "26 1 254:0 / / rw - ext4 /dev/vda rw\n48 27 0:44 / /top rw - btrfs /dev/vdb rw\n";
        let mut table = Table::new(mounted(mounts));
        let subvolume = |id, path: &str, received: Option<&str>| Subvolume {
            id,
            uuid: format!("u{id}"),
            parent: None,
            received: received.map(str::to_owned),
            path: path.to_owned(),
            readonly: false,
        };
        let subvolumes = vec![subvolume(5, "/", None), subvolume(256, "/pg", None), subvolume(257, "/old", Some("x"))];
        table.add("/dev/vdb", Filesystem { uuid: "fs".into(), subvolumes });
        table
    }

    fn part(path: &str, piece: &str) -> Part {
        let pieces = vec![Piece { role: "data directory".into(), path: piece.into(), content: true }];
        Part { dataset: path.into(), mountpoint: path.into(), pieces, main: true }
    }

    #[test]
    fn snapshots_lie_beside_the_subvolume_or_where_they_are_asked_for() {
        let table = table();
        let home = |path: &str, piece: &str, asked| home(&table, &part(path, piece), asked).ok();
        assert_eq!(home("/top/pg", "/top/pg/data", None).as_deref(), Some("/top/.reseed/pg"));
        assert_eq!(home("/top/pg", "/top/pg", Some("/top/s")).as_deref(), Some("/top/s/top/pg"));
        assert_eq!(home("/top", "/top/data", None).as_deref(), Some("/top/.reseed/snapshots"));
        assert_eq!(home("/top", "/top", None), None);
        assert_eq!(home("/top/pg", "/top/pg/data", Some("/srv")), None);
    }

    #[test]
    fn what_was_received_and_made_writable_is_no_source() {
        assert!(original(&table(), &part("/top/pg", "/top/pg/data")).is_ok());
        let error = original(&table(), &part("/top/old", "/top/old/data")).unwrap_err();
        assert!(error.to_string().contains("received UUID") && error.hint_text().is_some());
    }
}
