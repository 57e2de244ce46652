//! The stages of the primary: `pg-quiesce` and `pg-release`, and `pg-basebackup`.

mod backup;
pub mod basebackup;
pub(crate) mod guard;
pub(crate) mod held;
mod identity;
mod layout;
mod lock;
mod mode;
mod quiesce;
mod release;
mod requirements;
mod rule;
mod server;
pub(crate) mod slot;
mod statements;
mod survey;
mod vitals;
mod wal;

pub(crate) use server::minimum as minimum_settings;
pub(crate) use vitals::Vitals;

#[cfg(test)]
mod tests {
    use super::server::{Role, Room, Server};
    use super::vitals::Vitals;

    /// A primary that lacks nothing.
    pub(super) fn server() -> Server {
        Server {
            version: 150_018,
            vitals: Vitals { system_identifier: 0x6958_2a7b_3c0e_1f5a, timeline: 1, in_recovery: false },
            wal_level: "replica".into(),
            port: 5432,
            started: 1_700_000_000,
            wal_segment_size: 16 << 20,
            data_checksums: true,
            full_page_writes: true,
            data_directory: Some("/d".into()),
            minimum_settings: vec![("max_connections".into(), 100)],
            tablespaces: vec![],
            role: Role { name: "repl".into(), replication: true, checkpoint: true, missing: vec![] },
            room: Room { max_wal_senders: 10, slots: 1, max_slots: 10 },
            senders: vec![],
            wal_kept: None,
        }
    }
}
