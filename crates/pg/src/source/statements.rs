//! The statements of backup mode, which differ between versions.

/// The functions of backup mode, with their signatures as `GRANT` takes them: start, then stop.
pub(super) fn functions(major: u32) -> [&'static str; 2] {
    match major {
        15.. => ["pg_catalog.pg_backup_start(text, boolean)", "pg_catalog.pg_backup_stop(boolean)"],
        _ => ["pg_catalog.pg_start_backup(text, boolean, boolean)", "pg_catalog.pg_stop_backup(boolean, boolean)"],
    }
}

/// Begins backup mode; `$1` is the label, `$2` whether the checkpoint is done at once.
pub(super) fn start(major: u32) -> &'static str {
    match major {
        15.. => "SELECT pg_backup_start(label => $1, fast => $2)::text",
        _ => "SELECT pg_start_backup($1, $2, false)::text",
    }
}

/// Ends backup mode: position, `backup_label`, `tablespace_map`. Waiting for the archive is no
/// concern of a standby that streams.
pub(super) fn stop(major: u32) -> &'static str {
    match major {
        15.. => "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)",
        _ => "SELECT lsn::text, labelfile, spcmapfile FROM pg_stop_backup(false, false)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_own_names() {
        for major in 10..=18 {
            let (name, other) = if major < 15 {
                ("pg_start_backup", "pg_backup_start")
            } else {
                ("pg_backup_start", "pg_start_backup")
            };
            assert!(start(major).contains(name) && functions(major)[0].contains(name), "{major}");
            assert!(!start(major).contains(other), "{major}");
            let name = if major < 15 { "pg_stop_backup" } else { "pg_backup_stop" };
            assert!(stop(major).contains(name) && functions(major)[1].contains(name), "{major}");
        }
    }
}
