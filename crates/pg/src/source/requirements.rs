//! What the source must have so that a standby can follow it, with what would mend it.

use reseed_core::Error;

use super::mode::Obstacle;
use super::server::{Role, Room, Server};
use crate::session::identifier;

/// What a run will take of its source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// Standbys that will follow the source, each by a WAL sender.
    pub(super) standbys: usize,
    /// Replication slots.
    pub(super) slots: usize,
    /// WAL senders in use that are old standbys' own: those will have stopped before the new ones need
    /// a sender.
    pub(super) freed: usize,
}

/// Every reason to refuse, whatever the mode.
pub(super) fn refusals(server: &Server, demand: Demand) -> Vec<Error> {
    let wal_level = (server.wal_level == "minimal").then(wal_level);
    let slots = no_slot(server.room, counted(demand.slots));
    let role = (!server.role.replication).then(|| no_replication(&server.role));
    [wal_level, no_wal_sender(server, demand), slots, role].into_iter().flatten().collect()
}

fn wal_level() -> Error {
    Error::refused("the source runs with wal_level = minimal, which no standby can follow")
        .hint("ALTER SYSTEM SET wal_level = replica; and restart the source")
}

/// Whether there is no WAL sender free for each of so many standbys.
pub(super) fn is_full(server: &Server, standbys: usize) -> bool {
    counted(server.senders.len()) + counted(standbys) > server.room.max_wal_senders
}

fn counted(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX / 4)
}

/// Each new standby needs one. The backup itself runs in an ordinary session.
fn no_wal_sender(server: &Server, demand: Demand) -> Option<Error> {
    let (wal_senders, max_wal_senders) = (server.senders.len(), server.room.max_wal_senders);
    let lack = match demand.standbys {
        1 => "no free WAL sender".to_owned(),
        several => format!("too few free WAL senders for {several} standbys"),
    };
    let text = format!("the source has {lack}: {wal_senders} of max_wal_senders = {max_wal_senders} in use");
    let enough = wal_senders + demand.standbys + 1;
    let hint = format!("ALTER SYSTEM SET max_wal_senders = {enough}; and restart the source");
    is_full(server, demand.standbys.saturating_sub(demand.freed)).then(|| Error::refused(text).hint(hint))
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

    fn said(server: &Server, slots: usize) -> String {
        let demand = Demand { standbys: 1, slots, freed: 0 };
        refusals(server, demand).iter().map(Error::chain).collect::<Vec<_>>().join("; ")
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
        bad.room = Room { max_wal_senders: 2, slots: 4, max_slots: 4 };
        bad.senders = vec![sender(); 2];
        bad.role.replication = false;
        let all = said(&bad, 1);
        for part in ["wal_level", "max_wal_senders = 2", "max_replication_slots = 4", "role repl may not replicate"] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!said(&bad, 0).contains("max_replication_slots"));
        let error = merged(refusals(&bad, Demand { standbys: 1, slots: 1, freed: 0 })).unwrap_err();
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
            let demand = Demand { standbys: 1, slots: 1, freed: usize::from(freed) };
            assert_eq!(refusals(&server, demand).is_empty(), good, "{taken} of {max}, {freed}");
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
