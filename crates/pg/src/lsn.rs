//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use reseed_core::{Error, Result};

/// A position in the write-ahead log in bytes, written as PostgreSQL does: `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let half = |half: &str| match half.len() {
            1..=8 if half.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(half, 16).ok(),
            _ => None,
        };
        let halves = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = halves.ok_or_else(|| Error::failed(format!("`{text}` is no WAL position")))?;
        Ok(Self(high << 32 | low))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_and_prints_as_postgresql_writes_it() {
        for text in ["0/0", "0/3000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn positions_compare_as_numbers_and_not_as_text() {
        let lsn = |text: &str| text.parse::<Lsn>().unwrap();
        assert!(lsn("2/0") > lsn("1/FFFFFFFF"));
        assert!(lsn("10/0") > lsn("9/0"));
        assert!(lsn("0/A000000") < lsn("0/10000000"));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "/", "0", "0/", "/0", "0/G", "0/+1", "0/123456789", "0/1/2", " 0/1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
