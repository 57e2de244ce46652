//! What tests of other crates need of this one.

use crate::parse;
use crate::table::Table;

/// Reads a text in every way in which what `btrfs` and the mount table print is read.
pub fn read(text: &str) {
    let mounted = parse::mounted(text);
    let device = mounted.first().map(|mount| mount.device.clone());
    let mut table = Table::new(mounted);
    if let (Some(filesystem), Some(device)) = (parse::filesystem(text), device) {
        table.add(&device, filesystem);
        table.mounts();
        table.tree("/a").for_each(drop);
    }
    assert!(parse::roots(text).iter().filter(|root| root.was_changed()).count() <= text.lines().count());
    parse::hint(text);
    parse::is_in_use(text);
}
