//! The encoding that is the same on every machine: big-endian, in units of four bytes.

use super::super::fletcher::Order;
use super::{Bytes, DEEPEST, List, Value, kind, text};

/// Version and flags of a list whose names are unique.
const VERSION_AND_FLAGS: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

pub(super) fn read(rest: &[u8]) -> Option<List> {
    list(&mut Bytes { rest, order: Order::Big }, DEEPEST)
}

fn list(bytes: &mut Bytes<'_>, depth: usize) -> Option<List> {
    let depth = depth.checked_sub(1)?;
    bytes.take(8)?;
    let mut pairs = vec![];
    loop {
        let (size, decoded) = (bytes.u32()?, bytes.u32()?);
        if decoded == 0 {
            return Some(List(pairs));
        }
        // What a pair holds, a list too, lies within its size.
        let pair = bytes.take(usize::try_from(size).ok()?.checked_sub(8)?)?;
        let mut pair = Bytes { rest: pair, order: Order::Big };
        let name = string(&mut pair)?;
        let (kind, count) = (pair.u32()?, pair.u32()?);
        pairs.push((name, value(&mut pair, kind, count, depth)?));
    }
}

fn value(pair: &mut Bytes<'_>, kind: u32, count: u32, depth: usize) -> Option<Value> {
    Some(match kind {
        kind::BOOLEAN => Value::Flag,
        kind::UINT32 => Value::Number(pair.u32()?.into()),
        kind::UINT64 => Value::Number(pair.u64()?),
        kind::UINT64_ARRAY => {
            let count = if count == 0 { 0 } else { pair.u32()? };
            Value::Numbers(pair.numbers(count)?)
        }
        kind::STRING => Value::Text(string(pair)?),
        kind::NVLIST => Value::List(list(pair, depth)?),
        _ => Value::Other,
    })
}

fn string(bytes: &mut Bytes<'_>) -> Option<String> {
    let length = usize::try_from(bytes.u32()?).ok()?;
    let padded = bytes.take(length.checked_next_multiple_of(4)?)?;
    Some(text(&padded[..length]))
}

pub(super) fn write(list: &List, bytes: &mut Vec<u8>) {
    bytes.extend(VERSION_AND_FLAGS);
    list.0.iter().for_each(|(name, value)| pair(name, value, bytes));
    bytes.extend([0; 8]);
}

fn pair(name: &str, value: &Value, bytes: &mut Vec<u8>) {
    let mut encoded = vec![];
    // The size that it has as a structure of C with all that belongs to it; a reader only asks for enough.
    let (kind, count, structure) = match value {
        Value::Flag => (kind::BOOLEAN, 0, 0),
        Value::Number(number) => {
            encoded.extend(number.to_be_bytes());
            (kind::UINT64, 1, 8)
        }
        Value::Numbers(numbers) => {
            encoded.extend((numbers.len() as u32).to_be_bytes());
            encoded.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
            (kind::UINT64_ARRAY, numbers.len(), 8 * numbers.len())
        }
        Value::Text(text) => {
            put(text, &mut encoded);
            (kind::STRING, 1, text.len() + 1)
        }
        Value::List(list) => {
            write(list, &mut encoded);
            (kind::NVLIST, 1, 24)
        }
        Value::Other => return,
    };
    let mut named = vec![];
    put(name, &mut named);
    let size = 8 + named.len() + 8 + encoded.len();
    let decoded = (16 + name.len() + 1).next_multiple_of(8) + structure.next_multiple_of(8);
    bytes.extend((size as u32).to_be_bytes());
    bytes.extend((decoded as u32).to_be_bytes());
    bytes.extend(named);
    bytes.extend(kind.to_be_bytes());
    bytes.extend((count as u32).to_be_bytes());
    bytes.extend(encoded);
}

fn put(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
