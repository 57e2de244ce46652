//! Packed lists of names and values, as ZFS writes them behind a BEGIN and into resume tokens.
//!
//! Four bytes come first: the encoding (0 native, 1 XDR), the order of the bytes (1 little, 0 big) and two
//! that are reserved. `zfs` writes XDR, the kernel writes native. See `module/nvpair/nvpair.c` in OpenZFS.

mod native;
mod xdr;

use super::fletcher::Order;

/// Lists in lists; no list of a stream is deeper.
const DEEPEST: usize = 20;

/// Names and values, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List(pub Vec<(String, Value)>);

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A name that is there, without a value.
    Flag,
    /// A number that is not negative.
    Number(u64),
    /// Several of them.
    Numbers(Vec<u64>),
    /// A text.
    Text(String),
    /// A list.
    List(List),
    /// Something that a reader of streams has no use for.
    Other,
}

/// Numbers of the types of values.
mod kind {
    pub const BOOLEAN: u32 = 1;
    pub const UINT32: u32 = 6;
    pub const UINT64: u32 = 8;
    pub const STRING: u32 = 9;
    pub const UINT64_ARRAY: u32 = 16;
    pub const NVLIST: u32 = 19;
    pub const NVLIST_ARRAY: u32 = 20;
}

impl List {
    /// Reads a packed list; `None` where the bytes are none.
    pub fn read(packed: &[u8]) -> Option<Self> {
        let (head, rest) = packed.split_at_checked(4)?;
        match (head[0], head[1]) {
            (0, 0) => native::read(rest, Order::Big),
            (0, 1) => native::read(rest, Order::Little),
            (1, _) => xdr::read(rest),
            _ => None,
        }
    }

    /// Packs the list as XDR, which every version reads. Values that a reader has no use for are left out.
    pub fn packed(&self) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0];
        xdr::write(self, &mut bytes);
        bytes
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<u64> {
        if let Value::Number(number) = self.get(name)? { Some(*number) } else { None }
    }

    /// The text of a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = self.get(name)? { Some(text) } else { None }
    }

    /// The list of a name.
    pub fn list(&self, name: &str) -> Option<&List> {
        if let Value::List(list) = self.get(name)? { Some(list) } else { None }
    }
}

/// Bytes that are taken from the front.
struct Bytes<'b> {
    rest: &'b [u8],
    order: Order,
}

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(|bytes| self.order.u32(bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(|bytes| self.order.u64(bytes))
    }

    /// Numbers of 64 bits, as many as there can be.
    fn numbers(&mut self, count: u32) -> Option<Vec<u64>> {
        let bytes = self.take(usize::try_from(count).ok()?.checked_mul(8)?)?;
        Some(bytes.as_chunks::<8>().0.iter().map(|number| self.order.u64(*number)).collect())
    }
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list() -> List {
        let inner = List(vec![("a@1".into(), Value::Number(u64::MAX)), ("empty".into(), Value::Text(String::new()))]);
        List(vec![
            ("tosnap".into(), Value::Text("three".into())),
            ("raw".into(), Value::Flag),
            ("guids".into(), Value::Numbers(vec![1, 2, 3])),
            ("fss".into(), Value::List(List(vec![("0x1".into(), Value::List(inner))]))),
            ("last".into(), Value::Number(7)),
        ])
    }

    /// As the kernel packs it on such a machine: a list's pairs follow the pair that holds the list.
    fn native(list: &List, order: Order, bytes: &mut Vec<u8>) {
        let number = |number: u64| match order {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        };
        let word = |word: u32| if order == Order::Little { word.to_le_bytes() } else { word.to_be_bytes() };
        let short = |short: u16| if order == Order::Little { short.to_le_bytes() } else { short.to_be_bytes() };
        for (name, value) in &list.0 {
            let (kind, count, value_bytes) = match value {
                Value::Flag => (kind::BOOLEAN, 0, vec![]),
                Value::Number(value) => (kind::UINT64, 1, number(*value).to_vec()),
                Value::Numbers(all) => {
                    (kind::UINT64_ARRAY, all.len(), all.iter().flat_map(|one| number(*one)).collect())
                }
                Value::Text(text) => (kind::STRING, 1, [text.as_bytes(), &[0]].concat()),
                Value::List(_) => (kind::NVLIST, 1, vec![0; 24]),
                Value::Other => unreachable!(),
            };
            let head = (16 + name.len() + 1).next_multiple_of(8);
            let size = head + value_bytes.len().next_multiple_of(8);
            let begun = bytes.len();
            bytes.extend(word(size as u32));
            bytes.extend(short(name.len() as u16 + 1));
            bytes.extend(short(0));
            bytes.extend(word(count as u32));
            bytes.extend(word(kind));
            bytes.extend(name.as_bytes());
            bytes.resize(begun + head, 0);
            bytes.extend(value_bytes);
            bytes.resize(begun + size, 0);
            if let Value::List(inner) = value {
                native(inner, order, bytes);
            }
        }
        bytes.extend([0; 4]);
    }

    #[test]
    fn what_is_packed_is_read_in_every_encoding() {
        assert_eq!(List::read(&list().packed()), Some(list()));
        for (order, flag) in [(Order::Little, 1), (Order::Big, 0)] {
            let mut bytes = vec![0, flag, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            native(&list(), order, &mut bytes);
            assert_eq!(List::read(&bytes), Some(list()), "{order:?}");
            assert_eq!(List::read(&bytes[..bytes.len() - 1]), None);
        }
        let packed = list().packed();
        (0..packed.len()).for_each(|length| assert_eq!(List::read(&packed[..length]), None, "{length}"));
    }

    #[test]
    fn lists_in_lists_without_end_are_refused() {
        let mut deep = list();
        for _ in 0..DEEPEST + 1 {
            deep = List(vec![("x".into(), Value::List(deep))]);
        }
        assert_eq!(List::read(&deep.packed()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 4..400)) {
            for encoding in 0..2 {
                bytes[0] = encoding;
                bytes[1] &= 1;
                let _ = List::read(&bytes);
            }
        }

        #[test]
        fn altered_lists_are_read_or_refused(at in 0_usize..300, bit in 0_u32..8) {
            let mut packed = list().packed();
            let at = at % packed.len();
            packed[at] ^= 1 << bit;
            let _ = List::read(&packed);
        }
    }
}
