//! What the source must have so that a standby can follow it, with what would mend it.

use reseed_core::Error;

use super::mode::Obstacle;
use super::server::{Role, Room, Server};

/// Every reason to refuse, whatever the mode, for a run that makes so many slots.
pub(super) fn refusals(server: &Server, slots: usize) -> Vec<Error> {
    let wal_level = (server.wal_level == "minimal").then(wal_level);
    let slots = no_slot(server.room, i64::try_from(slots).unwrap_or(i64::MAX));
    let role = (!server.role.replication).then(|| no_replication(&server.role));
    [wal_level, no_wal_sender(server.room), slots, role].into_iter().flatten().collect()
}

fn wal_level() -> Error {
    Error::refused("the source runs with wal_level = minimal, which no standby can follow")
        .hint("ALTER SYSTEM SET wal_level = replica; and restart the source")
}

fn no_wal_sender(room: Room) -> Option<Error> {
    let Room { wal_senders, max_wal_senders, .. } = room;
    let text =
        format!("the source has no free WAL sender: {wal_senders} of max_wal_senders = {max_wal_senders} in use");
    let hint = format!("ALTER SYSTEM SET max_wal_senders = {}; and restart the source", wal_senders + 2);
    (wal_senders >= max_wal_senders).then(|| Error::refused(text).hint(hint))
}

fn no_slot(room: Room, wanted: i64) -> Option<Error> {
    let Room { slots, max_slots, .. } = room;
    let text =
        format!("the source has no free replication slot: {slots} of max_replication_slots = {max_slots} in use");
    let hint = format!(
        "drop one that nobody uses (SELECT slot_name FROM pg_replication_slots WHERE NOT active), or \
         ALTER SYSTEM SET max_replication_slots = {}; and restart the source",
        slots + wanted + 1
    );
    (wanted > 0 && slots + wanted > max_slots).then(|| Error::refused(text).hint(hint))
}

fn no_replication(role: &Role) -> Error {
    Error::refused(format!("the role {} may not replicate", role.name))
        .hint(format!("ALTER ROLE {} REPLICATION;", identifier(&role.name)))
}

/// Why backup mode is not possible, if it is not.
pub(super) fn backup_obstacle(server: &Server) -> Option<Obstacle> {
    if !server.role.missing.is_empty() {
        let functions = server.role.missing.join(", ");
        return Some(Obstacle {
            what: format!("the role {} may not begin and end a backup", server.role.name),
            hint: format!("GRANT EXECUTE ON FUNCTION {functions} TO {};", identifier(&server.role.name)),
        });
    }
    (server.vitals.in_recovery && !server.full_page_writes).then(|| Obstacle {
        what: "a standby can't be backed up while its primary runs with full_page_writes = off".into(),
        hint: "on the primary: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf(); CHECKPOINT;".into(),
    })
}

/// A name as SQL takes it.
pub(super) fn identifier(name: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One refusal that names them all, with every hint.
pub(super) fn merged(mut refusals: Vec<Error>) -> reseed_core::Result<()> {
    if refusals.len() < 2 {
        return refusals.pop().map_or(Ok(()), Err);
    }
    let said: Vec<_> = refusals.iter().map(Error::chain).collect();
    let hints: Vec<_> = refusals.iter().filter_map(Error::hint_text).collect();
    Err(Error::refused(said.join("; and ")).hint(hints.join(" — ")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::server;
    use super::*;

    fn said(server: &Server, slots: usize) -> String {
        refusals(server, slots).iter().map(Error::chain).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_source_is_not_refused() {
        assert_eq!(said(&server(), 1), "");
        assert_eq!(backup_obstacle(&server()), None);
    }

    #[test]
    fn each_lack_is_named() {
        let mut bad = server();
        bad.wal_level = "minimal".into();
        bad.room = Room { wal_senders: 2, max_wal_senders: 2, slots: 4, max_slots: 4 };
        bad.role.replication = false;
        let all = said(&bad, 1);
        for part in ["wal_level", "max_wal_senders = 2", "max_replication_slots = 4", "role repl may not replicate"] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!said(&bad, 0).contains("max_replication_slots"));
        let error = merged(refusals(&bad, 1)).unwrap_err();
        assert!(error.hint_text().unwrap().contains("ALTER ROLE repl REPLICATION;"));
    }

    #[test]
    fn the_very_grant_is_printed() {
        let mut bad = server();
        bad.role.name = "Repl-1".into();
        bad.role.missing = super::super::statements::functions(15).to_vec();
        assert_eq!(
            backup_obstacle(&bad).unwrap().hint,
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean), \
             pg_catalog.pg_backup_stop(boolean) TO \"Repl-1\";"
        );
    }

    #[test]
    fn a_standby_of_a_primary_without_full_pages_has_no_backup_mode() {
        let mut bad = server();
        bad.full_page_writes = false;
        assert_eq!(backup_obstacle(&bad), None, "a primary writes them during a backup");
        bad.vitals.in_recovery = true;
        assert!(backup_obstacle(&bad).unwrap().what.contains("full_page_writes"));
    }
}
