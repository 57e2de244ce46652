//! Attributes of the commands that say what a stream is.

/// Identity of what is sent.
pub(super) const UUID: u16 = 1;
/// Identity of what the increment starts from.
pub(super) const CLONE_UUID: u16 = 20;
/// How many bytes, in a command that tells of data without carrying it.
pub(super) const SIZE: u16 = 4;
/// The name of what is sent.
pub(super) const PATH: u16 = 15;

/// The value of one attribute; `None` where it is not there or the payload is broken before it.
pub(super) fn value(mut payload: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (head, rest) = payload.split_at_checked(4)?;
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (value, rest) = rest.split_at_checked(length)?;
        if kind == wanted {
            return Some(value);
        }
        payload = rest;
    }
}

/// A UUID as it is written for people.
pub(super) fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}
