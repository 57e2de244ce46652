//! The reader as core knows readers.

use reseed_core::inventory;
use reseed_core::reader::{Damage, DamageKind, Place, Seen, StreamReader};
use reseed_core::registry::ReaderPlugin;

use super::place::{Places, Spot};
use super::reader::{hex, some};
use super::record::{Begin, Look};
use super::token::Token;
use super::{Broken, NAMES, Order, Reader};
use crate::shared::FORMAT;

inventory::submit! {
    ReaderPlugin {
        format: FORMAT,
        looks: |bytes| Look::at(bytes) != Look::Other,
        open: || Box::new(Reader::default()),
        resumption: Some(&Places),
    }
}

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        Reader::push(self, bytes).map_err(Damage::from)
    }

    fn finish(&mut self) -> Result<(), Damage> {
        Reader::finish(self).map_err(Damage::from)
    }

    fn seen(&self) -> Seen {
        let first = Reader::seen(self).first();
        Seen {
            from_guid: first.and_then(|begin| some(begin.from_guid)).map(hex),
            to_guid: Reader::seen(self).to_guid.map(hex),
            name: Reader::seen(self).begin.as_ref().map(|begin| begin.name.clone()),
            bytes: self.parser().offset(),
            records: NAMES.into_iter().zip(Reader::seen(self).records).collect(),
            notes: Reader::seen(self).begin.as_ref().map(|begin| self.notes(begin)).unwrap_or_default(),
        }
    }

    fn border(&self) -> u64 {
        self.parser().border()
    }

    fn place(&self) -> Option<Place> {
        Spot::last(self).map(|spot| spot.place())
    }
}

impl Reader {
    fn notes(&self, begin: &Begin) -> Vec<(&'static str, String)> {
        let order = match self.parser().order() {
            Order::Little => "little-endian",
            Order::Big => "big-endian",
        };
        let features = Reader::seen(self).first().unwrap_or(begin).features.names();
        let mut notes = vec![
            ("kind", if begin.compound { "several snapshots" } else { "one snapshot" }.to_owned()),
            ("features", if features.is_empty() { "none".to_owned() } else { features.join(", ") }),
            ("numbers", order.to_owned()),
        ];
        // `zfs send -t` goes on with it.
        if let (Some(token), false) = (Token::of(Reader::seen(self)), self.parser().is_ended()) {
            notes.push(("resume by", token.to_string()));
        }
        notes
    }
}

impl From<Broken> for Damage {
    fn from(broken: Broken) -> Self {
        let (record, offset) = broken.place();
        let kind = match broken {
            Broken::NoStream => DamageKind::Foreign,
            Broken::Cut { .. } | Broken::Missing { .. } => DamageKind::Cut,
            _ => DamageKind::Altered,
        };
        Self { kind, record, offset, text: broken.to_string() }
    }
}
