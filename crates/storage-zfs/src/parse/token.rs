//! What `zfs send -nv -t TOKEN` tells of a token: it takes it apart on any machine, before it looks
//! for the snapshot.

use reseed_core::stage::CutOff;

use super::listing::hex;

/// What a receive that was cut off, and can be resumed, is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The token as `zfs send -t` takes it.
    pub(crate) text: String,
    /// The snapshot as the sender called it.
    pub(crate) to_name: String,
    /// Its identity, as 16 hex digits.
    pub(crate) to_guid: String,
    /// Identity of the snapshot that the stream started from; `None` for a full one.
    pub(crate) from_guid: Option<String>,
    /// Bytes of the stream that have arrived.
    pub(crate) bytes: u64,
}

impl Token {
    /// Reads the nvlist that is printed for the token `text`; `None` where it is none that names a snapshot.
    pub(crate) fn read(text: &str, printed: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = printed.lines().filter_map(|line| line.trim().split_once(" = "));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
        };
        let number = |key: &str| u64::from_str_radix(value(key)?.strip_prefix("0x")?, 16).ok();
        Some(Self {
            text: text.to_owned(),
            to_name: value("toname")?.to_owned(),
            to_guid: hex(number("toguid")?),
            from_guid: number("fromguid").filter(|guid| *guid != 0).map(hex),
            bytes: number("bytes").unwrap_or(0),
        })
    }

    /// What the target has, as every stage knows it.
    pub(crate) fn cut_off(&self) -> CutOff {
        CutOff { guid: self.to_guid.clone(), from_guid: self.from_guid.clone(), token: self.text.clone() }
    }

    /// Whether this is the form of a token: nothing else is handed to a command.
    pub(crate) fn is_one(text: &str) -> bool {
        text.contains('-') && text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(token_char)
    }
}

fn token_char(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from OpenZFS 2.4.4; the second one where the snapshot was gone.
    const FULL: &str = "resume token contents:
nvlist version: 0
\tobject = 0x2
\toffset = 0x860000
\tbytes = 0x885ee0
\ttoguid = 0x7db2c515102f5ecc
\ttoname = tank/a@1
\tembedok = 1
\tcompressok = 1
full\ttank/a@1\t16286096
size\t16286096
";
    const INCREMENT: &str = "cannot resume send: 'tank/a@2' used in the initial send no longer exists
resume token contents:
nvlist version: 0
\tfromguid = 0x7db2c515102f5ecc
\tobject = 0x3
\toffset = 0x860000
\tbytes = 0x885cc8
\ttoguid = 0xa5d989b428e13c3d
\ttoname = tank/a@2
\tembedok = 1
\tcompressok = 1
";

    #[test]
    fn a_token_tells_what_it_is_of() {
        let token = Token::read("1-a-b-c", FULL).unwrap();
        assert_eq!((token.to_name.as_str(), token.from_guid.as_deref()), ("tank/a@1", None));
        assert_eq!((token.to_guid.as_str(), token.bytes), ("7db2c515102f5ecc", 0x885ee0));
        let token = Token::read("1-a-b-c", INCREMENT).unwrap();
        assert_eq!(
            (token.to_guid.as_str(), token.from_guid.as_deref()),
            ("a5d989b428e13c3d", Some("7db2c515102f5ecc"))
        );
        assert_eq!(Token::read("1-a-b-c", "cannot resume send: resume token is corrupt (incorrect checksum)"), None);
    }

    #[test]
    fn only_a_token_goes_into_a_command() {
        assert!(Token::is_one("1-dc63a9ed7-f0-789c6360"));
        for bad in ["-", "", "none", "-nv", "1-a b", "1-$(id)"] {
            assert!(!Token::is_one(bad), "{bad}");
        }
    }
}
