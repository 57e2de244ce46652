//! Every undo and every chore survives being written down: what a journal of an earlier version holds is
//! read, and is written again as it was.

use std::collections::{BTreeMap, BTreeSet};

use reseed_core::config::Resources;
use reseed_core::registry;
use reseed_core::undo::Record;
use reseed_tests as _;
use serde_json::{Value, json};

/// Records as they were written, one a line. Lines are added and never changed: there may be journals
/// with them.
const UNDOS: &str = include_str!("../journal/undos.jsonl");
const CHORES: &str = include_str!("../journal/chores.jsonl");

/// The names that the records use.
const FILE: &str = r#"
name = "t"
[clusters.primary]
conninfo = "host=192.0.2.1 user=replicator"
password = { env = "PATH" }
[clusters.standby]
data_directory = "/data"
[repositories.offsite]
url = "file:///srv/reseed"
"#;

fn records(text: &str) -> Vec<Record> {
    let record = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value["does"] = json!("");
        serde_json::from_value(value).unwrap()
    };
    text.lines().map(record).collect()
}

fn kinds(records: &[Record]) -> BTreeSet<&str> {
    records.iter().map(|record| record.kind.as_str()).collect()
}

#[test]
fn every_undo_is_read_as_it_was_written() {
    let (records, resources) = (records(UNDOS), Resources::read(FILE, &BTreeMap::new()).unwrap());
    assert_eq!(kinds(&records), registry::undos().into_iter().collect());
    for record in records {
        let undo = record.revive(&resources).unwrap_or_else(|error| panic!("{}: {}", record.kind, error.chain()));
        let again = record.again(&resources).unwrap();
        assert_eq!(again.data, record.data, "{}", record.kind);
        assert_eq!((again.does.clone(), again.by_hand.clone()), (undo.describe(), undo.by_hand()));
        assert!(!again.does.is_empty() && !again.by_hand.is_empty(), "{again:?}");
        let text = serde_json::to_string(&again).unwrap();
        assert!(!text.contains(&std::env::var("PATH").unwrap()), "a secret is in the record of {}", record.kind);
    }
}

#[test]
fn every_chore_is_read_as_it_was_written() {
    let (records, resources) = (records(CHORES), Resources::read(FILE, &BTreeMap::new()).unwrap());
    assert_eq!(kinds(&records), registry::chores().into_iter().collect());
    for record in records {
        let chore = record.revive_chore(&resources);
        let chore = chore.unwrap_or_else(|error| panic!("{}: {}", record.kind, error.chain()));
        assert!(!chore.describe().is_empty());
    }
}

#[test]
fn what_a_record_needs_and_is_not_there_is_named() {
    let text =
        FILE.replace("\"PATH\"", "\"RESEED_NO_SUCH_VARIABLE\"").replace("[repositories.offsite]", "[repositories.x]");
    let resources = Resources::read(&text, &BTreeMap::new()).unwrap();
    let of = |kind: &str| {
        let record = records(UNDOS).into_iter().find(|record| record.kind == kind).unwrap();
        record.revive(&resources).unwrap_err().chain()
    };
    assert!(
        of("pg-drop-slot").contains("the environment has no variable `RESEED_NO_SUCH_VARIABLE`"),
        "{}",
        of("pg-drop-slot")
    );
    assert!(of("staged-abandon").contains("no `[repositories.offsite]`"), "{}", of("staged-abandon"));
    // What does not need it is not kept from being done.
    let record = records(UNDOS).into_iter().find(|record| record.kind == "pg-start-again").unwrap();
    record.revive(&resources).unwrap();
}
