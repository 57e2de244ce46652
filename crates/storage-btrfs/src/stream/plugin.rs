//! The judge as core knows readers of streams.

use reseed_core::inventory;
use reseed_core::reader::{self, Damage, DamageKind, StreamReader};
use reseed_core::registry::ReaderPlugin;

use super::{Broken, Verifier};
use crate::shared::FORMAT;

/// Names of the commands by their number, as `btrfs receive --dump` has them.
const NAMES: [&str; 27] = [
    "unspec",
    "subvol",
    "snapshot",
    "mkfile",
    "mkdir",
    "mknod",
    "mkfifo",
    "mksock",
    "symlink",
    "rename",
    "link",
    "unlink",
    "rmdir",
    "set_xattr",
    "remove_xattr",
    "write",
    "clone",
    "truncate",
    "chmod",
    "chown",
    "utimes",
    "end",
    "update_extent",
    "fallocate",
    "fileattr",
    "encoded_write",
    "enable_verity",
];

inventory::submit! {
    ReaderPlugin { format: FORMAT, looks, open: || Box::new(Verifier::any()), resumption: None }
}

fn looks(bytes: &[u8]) -> bool {
    let magic = super::verifier::MAGIC;
    bytes.iter().zip(magic).all(|(byte, known)| byte == known)
}

impl StreamReader for Verifier {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        Verifier::push(self, bytes).map_err(|broken| self.damage(&broken))
    }

    fn finish(&mut self) -> Result<(), Damage> {
        Verifier::finish(self).map_err(|broken| self.damage(&broken))
    }

    fn seen(&self) -> reader::Seen {
        let seen = Verifier::seen(self);
        let name = |kind: u16| NAMES.get(usize::from(kind)).copied().unwrap_or("unknown");
        reader::Seen {
            from_guid: seen.base.clone(),
            to_guid: seen.uuid.clone(),
            name: seen.name.clone(),
            bytes: self.offset(),
            records: seen.commands.iter().map(|(kind, count)| (name(*kind), *count)).collect(),
            notes: vec![("version", seen.version.to_string())],
        }
    }

    fn border(&self) -> u64 {
        Verifier::border(self)
    }
}

impl Verifier {
    fn damage(&self, broken: &Broken) -> Damage {
        let kind = match broken {
            Broken::NoStream => DamageKind::Foreign,
            Broken::Cut { .. } => DamageKind::Cut,
            _ => DamageKind::Altered,
        };
        let (record, offset) = match *broken {
            Broken::Length { command, offset, .. }
            | Broken::Altered { command, offset }
            | Broken::Other { command, offset, .. }
            | Broken::Cut { command, offset } => (command, offset),
            Broken::Surplus { offset } => (self.command(), offset),
            Broken::NoStream | Broken::Version { .. } | Broken::Unknown { .. } => (0, 0),
        };
        Damage { kind, record, offset, text: broken.to_string() }
    }
}
