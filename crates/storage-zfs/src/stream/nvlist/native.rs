//! The encoding that is the memory of the machine that wrote it.

use super::super::fletcher::Order;
use super::{Bytes, DEEPEST, List, Value, kind, text};

/// Size of the pair, of the name with its end, nothing, number of values, type.
const HEAD: usize = 16;

pub(super) fn read(rest: &[u8], order: Order) -> Option<List> {
    let mut bytes = Bytes { rest, order };
    bytes.take(8)?;
    list(&mut bytes, DEEPEST)
}

/// Pairs up to the size 0. What a list in a pair holds follows that pair.
fn list(bytes: &mut Bytes<'_>, depth: usize) -> Option<List> {
    let depth = depth.checked_sub(1)?;
    let mut pairs = vec![];
    loop {
        let size = usize::try_from(bytes.u32()?).ok()?;
        if size == 0 {
            return Some(List(pairs));
        }
        let pair = bytes.take(size.checked_sub(4)?)?;
        let (name, value) = self::pair(pair, bytes, depth)?;
        pairs.push((name, value));
    }
}

/// One pair, without its size, and what follows it.
fn pair(pair: &[u8], behind: &mut Bytes<'_>, depth: usize) -> Option<(String, Value)> {
    let order = behind.order;
    let named = pair.get(..2)?;
    let named = usize::from(match order {
        Order::Little => u16::from_le_bytes([named[0], named[1]]),
        Order::Big => u16::from_be_bytes([named[0], named[1]]),
    });
    let mut head = Bytes { rest: pair.get(4..)?, order };
    let (count, kind) = (head.u32()?, head.u32()?);
    let name = text(head.take(named)?);
    let at = (HEAD + named).next_multiple_of(8) - 4;
    // A value that is empty may end where the name does.
    let mut value = Bytes { rest: pair.get(at..).unwrap_or_default(), order };
    let value = match kind {
        kind::BOOLEAN => Value::Flag,
        kind::UINT32 => Value::Number(value.u32()?.into()),
        kind::UINT64 => Value::Number(value.u64()?),
        kind::UINT64_ARRAY => Value::Numbers(value.numbers(count)?),
        kind::STRING => Value::Text(text(value.rest)),
        kind::NVLIST => Value::List(list(behind, depth)?),
        kind::NVLIST_ARRAY => {
            for _ in 0..count {
                list(behind, depth)?;
            }
            Value::Other
        }
        _ => Value::Other,
    };
    Some((name, value))
}
