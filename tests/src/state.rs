//! Everything that a run could leave behind, as it is now.

use std::collections::BTreeSet;

use reseed_lab::{Pair, Pool};

/// What there is on both sides of a pair, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Datasets or subvolumes, snapshots, and what is to stay as it is with them.
    pub storage: BTreeSet<String>,
    /// Replication slots of the primary.
    pub slots: BTreeSet<String>,
    /// Sessions of the replication role on the primary that do not stream: an open backup is one.
    pub sessions: BTreeSet<String>,
}

impl State {
    /// What there is now.
    pub fn of(pair: &Pair) -> Self {
        Self {
            storage: [&pair.a, &pair.b].into_iter().flat_map(|pool| pool.inventory().unwrap()).collect(),
            slots: lines(&pair.primary.sql("select slot_name from pg_replication_slots").unwrap()),
            sessions: lines(&pair.primary.sql(SESSIONS).unwrap()),
        }
    }

    /// Names of snapshots that hold this text.
    pub fn snapshots(&self, of: &str) -> Vec<&str> {
        let named = self.storage.iter().map(|line| line.split('\t').next().unwrap_or_default());
        named.filter(|name| name.contains('@') && name.starts_with(of)).collect()
    }

    /// Names of datasets in a pool, without the pool's own.
    pub fn datasets(&self, pool: &Pool) -> Vec<&str> {
        let named = self.storage.iter().map(|line| line.split('\t').next().unwrap_or_default());
        named
            .filter(|name| !name.contains('@'))
            .filter_map(|name| name.strip_prefix(&format!("{}/", pool.name)))
            .collect()
    }

    /// What is here and not in `before`, and the other way round, for messages.
    pub fn difference(&self, before: &Self) -> Vec<String> {
        let pairs =
            [(&self.storage, &before.storage), (&self.slots, &before.slots), (&self.sessions, &before.sessions)];
        let differ = |(now, then): (&BTreeSet<String>, &BTreeSet<String>)| {
            let new = now.difference(then).map(|line| format!("left behind: {line}"));
            new.chain(then.difference(now).map(|line| format!("gone: {line}"))).collect::<Vec<_>>()
        };
        pairs.into_iter().flat_map(differ).collect()
    }
}

const SESSIONS: &str = "select pid || ' ' || coalesce(query, '') from pg_stat_activity \
                        where usename = 'replicator' and backend_type = 'client backend'";

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
