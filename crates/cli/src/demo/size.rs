//! Sizes as they are typed: `512M`, `2G`.

use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// The smallest database: that of a primary without any data is bigger.
const LEAST: u64 = 16 << 20;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 20),
            None => (text.strip_suffix(['G', 'g']).unwrap_or_default(), 30),
        };
        let number: u64 = digits.parse().map_err(|_| "it is written as `512M` or `2G`".to_owned())?;
        let bytes = number.checked_shl(shift).filter(|bytes| bytes >> shift == number);
        bytes.filter(|bytes| *bytes >= LEAST).map(Self).ok_or_else(|| "from 16M on".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        assert_eq!("512M".parse(), Ok(Size(512 << 20)));
        assert_eq!("2g".parse(), Ok(Size(2 << 30)));
        for wrong in ["", "12", "M", "1.5G", "1M", "99999999999999G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
