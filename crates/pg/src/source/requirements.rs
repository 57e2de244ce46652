//! What the source must have so that a standby can follow it, with what would mend it.

use reseed_core::Error;

use super::mode::Obstacle;
use super::server::{Role, Room, Server};
use crate::session::identifier;

/// Every reason to refuse, whatever the mode. `freed` says that one of the WAL senders in use is the
/// old standby's, which will have stopped before the new one needs a sender.
pub(super) fn refusals(server: &Server, slot: bool, freed: bool) -> Vec<Error> {
    let wal_level = (server.wal_level == "minimal").then(wal_level);
    let slots = slot.then(|| no_slot(server.room)).flatten();
    let role = (!server.role.replication).then(|| no_replication(&server.role));
    [wal_level, no_wal_sender(server, freed), slots, role].into_iter().flatten().collect()
}

fn wal_level() -> Error {
    Error::refused("the source runs with wal_level = minimal, which no standby can follow")
        .hint("ALTER SYSTEM SET wal_level = replica; and restart the source")
}

/// Whether every WAL sender is in use.
pub(super) fn is_full(server: &Server) -> bool {
    taken(server) >= server.room.max_wal_senders
}

fn taken(server: &Server) -> i64 {
    i64::try_from(server.senders.len()).unwrap_or(i64::MAX)
}

/// The new standby needs one. The backup itself runs in an ordinary session.
fn no_wal_sender(server: &Server, freed: bool) -> Option<Error> {
    let (wal_senders, max_wal_senders) = (taken(server), server.room.max_wal_senders);
    let text =
        format!("the source has no free WAL sender: {wal_senders} of max_wal_senders = {max_wal_senders} in use");
    let hint = format!("ALTER SYSTEM SET max_wal_senders = {}; and restart the source", wal_senders + 2);
    (wal_senders - i64::from(freed) >= max_wal_senders).then(|| Error::refused(text).hint(hint))
}

fn no_slot(room: Room) -> Option<Error> {
    let Room { slots, max_slots, .. } = room;
    let text =
        format!("the source has no free replication slot: {slots} of max_replication_slots = {max_slots} in use");
    let hint = format!(
        "drop one that nobody uses (SELECT slot_name FROM pg_replication_slots WHERE NOT active), or \
         ALTER SYSTEM SET max_replication_slots = {}; and restart the source",
        slots + 2
    );
    (slots >= max_slots).then(|| Error::refused(text).hint(hint))
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
    no_full_pages(server)
}

/// Why a standby can't be backed up, whoever asks for it.
pub(super) fn no_full_pages(server: &Server) -> Option<Obstacle> {
    (server.vitals.in_recovery && !server.full_page_writes).then(|| Obstacle {
        what: "a standby can't be backed up while its primary runs with full_page_writes = off".into(),
        hint: "on the primary: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf(); CHECKPOINT;".into(),
    })
}

/// One refusal that names them all, with every hint.
pub(super) fn merged(mut refusals: Vec<Error>) -> reseed_core::Result<()> {
    if refusals.len() < 2 {
        return refusals.pop().map_or(Ok(()), Err);
    }
    let said: Vec<_> = refusals.iter().map(Error::chain).collect();
    let hints: Vec<_> = refusals.iter().filter_map(Error::hint_text).collect();
    let merged = Error::refused(said.join("; and ")).hint(hints.join(" — "));
    Err(if refusals.iter().all(Error::is_follow_up) { merged.follow_up() } else { merged })
}

#[cfg(test)]
mod tests {
    use super::super::tests::server;
    use super::*;
    use crate::target::sender::Sender;

    fn said(server: &Server, slot: bool) -> String {
        refusals(server, slot, false).iter().map(Error::chain).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_source_is_not_refused() {
        assert_eq!(said(&server(), true), "");
        assert_eq!(backup_obstacle(&server()), None);
    }

    #[test]
    fn each_lack_is_named() {
        let mut bad = server();
        bad.wal_level = "minimal".into();
        bad.room = Room { max_wal_senders: 2, slots: 4, max_slots: 4 };
        bad.senders = vec![sender(); 2];
        bad.role.replication = false;
        let all = said(&bad, true);
        for part in ["wal_level", "max_wal_senders = 2", "max_replication_slots = 4", "role repl may not replicate"] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!said(&bad, false).contains("max_replication_slots"));
        let error = merged(refusals(&bad, true, false)).unwrap_err();
        assert!(error.hint_text().unwrap().contains("ALTER ROLE repl REPLICATION;"));
    }

    fn sender() -> Sender {
        Sender { application: "walreceiver".into(), user: "repl".into(), slot: None }
    }

    #[test]
    fn the_old_standby_s_sender_counts_as_free_and_no_other() {
        let mut server = server();
        for (taken, max, freed, good) in
            [(0, 1, false, true), (1, 1, false, false), (1, 1, true, true), (2, 1, true, false), (0, 0, false, false)]
        {
            (server.senders, server.room.max_wal_senders) = (vec![sender(); taken], max);
            assert_eq!(refusals(&server, true, freed).is_empty(), good, "{taken} of {max}, {freed}");
        }
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
