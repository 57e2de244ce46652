//! Judges whether a standby is one.

use std::time::{Duration, Instant};

use reseed_lab::{Pair, Server};

/// How long a standby may take for what it must do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sums over the data that differ as soon as one row does.
const SUMS: &str = "select (select count(*) || ' ' || sum(abalance) from pgbench_accounts) || ' ' || \
                    (select count(*) || ' ' || coalesce(sum(delta), 0) from pgbench_history)";

/// Makes what [`standby`] needs on a primary: once, before the first run.
pub fn prepare(pair: &Pair) {
    pair.primary.sql("create extension if not exists amcheck").unwrap();
}

/// Whether a standby streams, or begins to soon.
pub fn streams_soon(server: &Server) -> bool {
    let begun = Instant::now();
    while !server.streams() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// A standby streams, has the same rows as its primary at a common LSN, and every index agrees with
/// its table. Nothing may write meanwhile.
#[track_caller]
pub fn standby(pair: &Pair) {
    assert!(streams_soon(&pair.standby), "the standby does not stream\n{}", server_log(&pair.standby));
    pair.standby.catch_up(&pair.primary, PATIENCE).unwrap();
    assert_eq!(pair.primary.sql(SUMS).unwrap(), pair.standby.sql(SUMS).unwrap());
    indexes(&pair.standby);
}

#[track_caller]
fn indexes(server: &Server) {
    if server.major.number >= 14 {
        let checked = server.client("pg_amcheck").args(["--heapallindexed", "postgres"]);
        checked.run().unwrap();
        return;
    }
    let thorough = if server.major.number >= 11 { ", true" } else { "" };
    let check = format!(
        "select count(bt_index_check(c.oid{thorough})) from pg_class c join pg_am a on a.oid = c.relam \
         where a.amname = 'btree' and c.relpersistence = 'p' and c.relkind = 'i'"
    );
    assert_ne!(server.sql(&check).unwrap(), "0");
}

/// What the server wrote to its log, wherever that is.
pub fn server_log(server: &Server) -> String {
    let beside = std::fs::read_to_string(format!("{}.log", server.data)).unwrap_or_default();
    format!("{}{beside}", server.log())
}
