//! `reseed stream inspect`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use reseed_core::reader::{Damage, DamageKind, Seen, StreamReader};
use reseed_core::registry::{self, ENOUGH};
use serde_json::{Map, Value, json};

use super::InspectArgs;
use crate::{exit, human, out};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A stream of a known format, read as far as it could be.
struct Inspected {
    format: String,
    seen: Seen,
    damage: Option<Damage>,
}

pub(super) fn inspect(args: &InspectArgs) -> u8 {
    let name = args.file.display();
    let inspected = match open(&args.file).and_then(read) {
        Ok(inspected) => inspected.filter(Inspected::is_one),
        Err(error) => {
            out::error(&format!("{name}: {error}"), None);
            return exit::WRONG;
        }
    };
    let Some(inspected) = inspected else {
        let hint = "streams of the formats that `reseed stages` sends are read, neither compressed nor encrypted";
        out::error(&format!("{name} is no stream, or of no format that is known"), Some(hint));
        return exit::WRONG;
    };
    match args.json {
        true => out::data(&format!("{}\n", inspected.json())),
        false => out::data(&inspected.text()),
    }
    let Some(damage) = &inspected.damage else { return exit::DONE };
    out::error(&format!("{name}: {damage}"), None);
    exit::FAILED
}

fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(file)?))
}

/// Reads to the end, or to the damage; `None` where no format is known.
fn read(mut input: impl Read) -> io::Result<Option<Inspected>> {
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    while length < ENOUGH {
        match input.read(&mut piece[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let Some(plugin) = registry::detect(&piece[..length]) else { return Ok(None) };
    let mut reader = (plugin.open)();
    let damage = judge(reader.as_mut(), input, piece, length)?;
    Ok(Some(Inspected { format: plugin.format.as_str().to_owned(), seen: reader.seen(), damage }))
}

fn judge(
    reader: &mut dyn StreamReader,
    mut input: impl Read,
    mut piece: Vec<u8>,
    mut length: usize,
) -> io::Result<Option<Damage>> {
    while length > 0 {
        if let Err(damage) = reader.push(&piece[..length]) {
            return Ok(Some(damage));
        }
        length = input.read(&mut piece)?;
    }
    Ok(reader.finish().err())
}

impl Inspected {
    /// Whether it is a stream at all, sound or not.
    fn is_one(&self) -> bool {
        !matches!(&self.damage, Some(damage) if damage.kind == DamageKind::Foreign)
    }

    fn json(&self) -> Value {
        let Seen { from_guid, to_guid, name, bytes, records, .. } = &self.seen;
        let records: Map<_, _> = records.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        let damage = self.damage.as_ref().map(|damage| {
            let Damage { record, offset, text, .. } = damage;
            json!({ "record": record, "offset": offset, "text": text })
        });
        json!({
            "format": self.format,
            "name": name,
            "from_guid": from_guid,
            "to_guid": to_guid,
            "bytes": bytes,
            "complete": self.damage.is_none(),
            "records": records,
            "damage": damage,
        })
    }

    fn text(&self) -> String {
        let seen = &self.seen;
        let none = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        let complete = match &self.damage {
            None => "yes",
            Some(damage) if damage.kind == DamageKind::Cut => "no, it is cut off",
            Some(_) => "no, it is damaged",
        };
        let mut lines = vec![
            line("format", &self.format),
            line("name", &none(&seen.name, "-").escape_default().to_string()),
            line("from", &none(&seen.from_guid, "nothing: it is a whole")),
            line("to", &none(&seen.to_guid, "-")),
        ];
        lines.extend(seen.notes.iter().map(|(name, text)| line(name, text)));
        lines.push(line("bytes", &format!("{} ({})", seen.bytes, human::bytes(seen.bytes))));
        lines.push(line("complete", complete));
        lines.push("\n".to_owned());
        let records = seen.records.iter().filter(|(_, count)| *count > 0);
        lines.extend(records.map(|(name, count)| format!("{name:<16}{count:>12}\n")));
        lines.concat()
    }
}

fn line(name: &str, text: &str) -> String {
    format!("{name:<10}  {text}\n")
}
