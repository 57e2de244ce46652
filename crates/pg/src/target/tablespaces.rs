//! `tablespace_map`: the paths to which the server's first start sets the links in `pg_tblspc`.
//!
//! Each line is `OID path`; a line end inside a path is escaped by a backslash
//! (`do_pg_backup_start` and `read_tablespace_map` in PostgreSQL's `xlog.c`).

use reseed_core::{Error, Result};

/// The map with the path that each tablespace has on the target.
///
/// # Errors
/// When the map is none, or names a tablespace of which `target` knows nothing: it was made after the
/// layout was looked at, so it is in no snapshot.
pub(crate) fn rewrite(map: &str, target: impl Fn(u32) -> Option<String>) -> Result<String> {
    let mut rewritten = String::new();
    for line in lines(map) {
        let entry = line.split_once(' ').and_then(|(oid, path)| Some((oid.parse::<u32>().ok()?, path)));
        let (oid, path) = entry.ok_or_else(|| Error::failed(format!("the tablespace map has a line `{line}`")))?;
        // A tablespace inside the data directory moves with it.
        let path = match path.starts_with('/') {
            true => target(oid).ok_or_else(|| unknown(oid))?,
            false => path.to_owned(),
        };
        rewritten.push_str(&format!("{oid} {path}\n"));
    }
    Ok(rewritten)
}

fn unknown(oid: u32) -> Error {
    Error::failed(format!("the tablespace {oid} was created while the backup was taken")).hint("run it again")
}

fn lines(map: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut chars = map.chars();
    while let Some(c) = chars.next() {
        match (c, lines.last_mut()) {
            ('\\', Some(line)) => line.extend(std::iter::once(c).chain(chars.next())),
            ('\n' | '\r', _) => lines.push(String::new()),
            (c, Some(line)) => line.push(c),
            (_, None) => {}
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(oid: u32) -> Option<String> {
        [(16384, "/s/fast ssd"), (16385, "/s/b")].iter().find(|known| known.0 == oid).map(|known| known.1.to_owned())
    }

    #[test]
    fn paths_are_those_of_the_target() {
        let map = "16384 /p/fast ssd\n16385 /p/b\n";
        assert_eq!(rewrite(map, target).unwrap(), "16384 /s/fast ssd\n16385 /s/b\n");
        assert_eq!(rewrite("", target).unwrap(), "");
    }

    #[test]
    fn escaped_line_ends_and_backslashes_stay_in_their_line() {
        let map = "16384 /p/a\\\nb \\\\ c\n16385 /p/b\\\r\n";
        assert_eq!(rewrite(map, target).unwrap(), "16384 /s/fast ssd\n16385 /s/b\n");
    }

    #[test]
    fn a_tablespace_in_the_data_directory_stays_and_an_unknown_one_is_refused() {
        assert_eq!(rewrite("9 pg_tblspc/9\n", target).unwrap(), "9 pg_tblspc/9\n");
        assert!(rewrite("9 /p/new\n", target).unwrap_err().to_string().contains("tablespace 9 was created"));
        assert!(rewrite("nonsense\n", target).is_err());
    }
}
