//! What tests of other crates need of this one.

use crate::name;
use crate::parse::{self, Features, KINDS, Mounts, Rights, Said};

/// Reads a text in every way in which what `zfs` and the mount table print is read.
///
/// # Panics
/// Where what must hold of everything that is read does not.
pub fn read(text: &str, dataset: &str) {
    let features = Features::read(text);
    assert!(features.send_flags(&features).len() <= 3);
    parse::filesystems(text);
    parse::properties(text);
    for snapshot in parse::snapshots(text, dataset) {
        assert!(snapshot.name.starts_with(dataset) && snapshot.short().len() < snapshot.name.len());
    }
    parse::estimate(text);
    if let Some(hint) = Said::read(text).hint(dataset) {
        assert!(!hint.is_empty());
    }
    let who = Rights { user: "op".into(), groups: vec!["dba".into()] };
    assert!(who.missing(text, dataset, &["send", "hold"]).len() <= 2);
    Mounts::read(text, KINDS).path_of(dataset);
    if name::wrong(dataset).is_none() {
        assert!(!dataset.starts_with('-') && !dataset.contains(char::is_control));
    }
}
