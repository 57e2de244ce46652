//! Where the source's directories really are: links and mount points followed on its machine.

use reseed_core::host::{Command, Host};
use reseed_core::item::{Piece, Wanted};
use reseed_core::{Error, Result};

use crate::facts::{Layout, Tablespace};

/// Role of the main piece.
pub(crate) const DATA: &str = "data directory";
/// Role of the write-ahead log where it is not simply inside the data directory.
pub(crate) const WAL: &str = "pg_wal";

/// Exit status by which [`INSPECT`] says that it may not look inside.
const CLOSED: i32 = 45;

/// Prints `data PATH`, `wal PATH`, a `link NAME` for each link where there should be none, and
/// `device NUMBER NAME` for what should be on one file system. Names are inside the data directory.
pub(super) const INSPECT: &str = r#"cd -P -- "$1" 2>/dev/null || exit 45
echo "data $(pwd -P)"
wal=$(realpath -- pg_wal 2>/dev/null || readlink -f -- pg_wal) || exit 45
echo "wal $wal"
set -- . pg_wal
for name in base base/* global pg_commit_ts pg_dynshmem pg_logical pg_multixact pg_notify pg_replslot \
  pg_serial pg_snapshots pg_subtrans pg_tblspc pg_twophase pg_xact; do
  [ ! -L "$name" ] || echo "link $name"
  [ ! -e "$name" ] || set -- "$@" "$name"
done
stat -L -c 'device %d %n' -- "$@" 2>/dev/null || stat -L -f 'device %d %N' -- "$@""#;

/// What was found on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inspection {
    /// The data directory, links resolved.
    pub data_directory: String,
    /// Where `pg_wal` leads, if it is a link or a mount point of its own.
    pub wal_directory: Option<String>,
    /// Links and mount points inside the data directory that PostgreSQL does not know of.
    pub strangers: Vec<String>,
}

/// Looks at a data directory; `None` where the login user may not look inside.
pub(super) async fn inspect(host: &dyn Host, directory: &str) -> Result<Option<Inspection>> {
    let output = host.output(Command::script(INSPECT).arg(directory).as_root()).await?;
    if output.exit.code() == Some(CLOSED) {
        return Ok(None);
    }
    output.exit.success_on(host.name())?;
    let text = output.text();
    let found = parse(&text);
    found.map(Some).ok_or_else(|| Error::failed(format!("can't make out what is in {directory}: {text}")))
}

fn parse(text: &str) -> Option<Inspection> {
    let mut lines = text.lines();
    let data_directory = lines.next()?.strip_prefix("data ")?.to_owned();
    let wal = lines.next()?.strip_prefix("wal ")?.to_owned();
    let (mut strangers, mut devices) = (Vec::new(), Vec::new());
    for line in lines {
        match line.split_once(' ')? {
            ("link", name) => strangers.push(name.to_owned()),
            ("device", rest) => devices.push(rest.split_once(' ')?),
            _ => return None,
        }
    }
    let (own, _) = *devices.iter().find(|(_, name)| *name == ".")?;
    let mounted: Vec<_> = devices.iter().filter(|(device, _)| *device != own).map(|(_, name)| *name).collect();
    let separate = mounted.contains(&"pg_wal") || wal != format!("{data_directory}/pg_wal");
    for name in mounted.into_iter().filter(|name| *name != "pg_wal") {
        if !strangers.iter().any(|known| known == name) {
            strangers.push(name.to_owned());
        }
    }
    Some(Inspection { data_directory, wal_directory: separate.then_some(wal), strangers })
}

/// Tablespaces with their links resolved. A location that can't be resolved stays as the server
/// tells it: it is absolute, and only a link in it could be missed.
pub(super) async fn tablespaces(host: &dyn Host, told: &[(u32, String)]) -> Vec<Tablespace> {
    let mut resolved = Vec::new();
    for (oid, location) in told {
        let path = host.files().canonical(location).await.unwrap_or_else(|_| location.clone());
        resolved.push(Tablespace { oid: *oid, path });
    }
    resolved
}

/// What must be captured together, the data directory first.
pub(super) fn wanted(layout: &Layout, wal_content: bool) -> Wanted {
    let piece = |role: String, path: &str, content| Piece { role, path: path.to_owned(), content };
    let mut pieces = vec![piece(DATA.into(), &layout.data_directory, true)];
    pieces.extend(layout.wal_directory.iter().map(|path| piece(WAL.into(), path, wal_content)));
    pieces.extend(layout.tablespaces.iter().map(|t| piece(format!("tablespace {}", t.oid), &t.path, true)));
    Wanted(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "data /d\nwal /d/pg_wal\ndevice 7 .\ndevice 7 pg_wal\ndevice 7 base\n";

    #[test]
    fn pg_wal_inside_is_no_piece_of_its_own() {
        let found = parse(PLAIN).unwrap();
        assert_eq!(found, Inspection { data_directory: "/d".into(), wal_directory: None, strangers: vec![] });
    }

    #[test]
    fn a_linked_or_mounted_pg_wal_is() {
        let linked = parse("data /d\nwal /w\ndevice 7 .\ndevice 7 pg_wal\n").unwrap();
        assert_eq!(linked.wal_directory.as_deref(), Some("/w"));
        let mounted = parse("data /d\nwal /d/pg_wal\ndevice 7 .\ndevice 8 pg_wal\n").unwrap();
        assert_eq!(mounted.wal_directory.as_deref(), Some("/d/pg_wal"));
    }

    #[test]
    fn what_postgresql_does_not_know_of_is_found_once() {
        let text =
            "data /d\nwal /d/pg_wal\nlink base/5\ndevice 7 .\ndevice 7 pg_wal\ndevice 9 base/5\ndevice 8 pg_xact\n";
        assert_eq!(parse(text).unwrap().strangers, ["base/5", "pg_xact"]);
    }

    #[test]
    fn what_was_not_printed_by_the_script_is_not_taken_for_it() {
        for text in ["", "data /d\n", "data /d\nwal /w\n", "data /a\nb\nwal /w\ndevice 7 .\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_data_directory_comes_first_and_only_the_logs_content_can_stay_behind() {
        let layout = Layout {
            data_directory: "/d".into(),
            wal_directory: Some("/w".into()),
            tablespaces: vec![Tablespace { oid: 16385, path: "/t".into() }],
        };
        let Wanted(pieces) = wanted(&layout, false);
        let shown: Vec<_> = pieces.iter().map(|p| (p.role.as_str(), p.path.as_str(), p.content)).collect();
        assert_eq!(shown, [(DATA, "/d", true), (WAL, "/w", false), ("tablespace 16385", "/t", true)]);
    }
}
