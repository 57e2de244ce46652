//! Amounts of bytes, and bytes per second, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Text;

/// An amount of bytes: `64MiB`, `512KiB`, `1GiB`, `20MB`, `4096B`. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Bytes per second: `20MiB/s`, `20MB/s`, `100Mbit/s`. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

const BYTES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];
const BITS: [(&str, u64); 3] = [("Gbit", 125_000_000), ("Mbit", 125_000), ("kbit", 125)];

const SIZE: &str = "a size is written like `64MiB`, `512KiB` or `20MB`";
const RATE: &str = "a rate is written like `20MiB/s`, `20MB/s` or `100Mbit/s`";

impl Size {
    /// So many bytes; none for 0.
    pub const fn bytes(bytes: u64) -> Option<Self> {
        if bytes == 0 { None } else { Some(Self(bytes)) }
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Rate {
    /// So many bytes per second; none for 0, which would be a standstill.
    pub const fn per_second(bytes: u64) -> Option<Self> {
        if bytes == 0 { None } else { Some(Self(bytes)) }
    }

    /// In bytes per second.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number with a unit. A fraction is fine, as in `1.5GiB`.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(*factor)?,
        Err(_) => (number.parse::<f64>().ok()? * *factor as f64) as u64,
    };
    (bytes > 0 && bytes < u64::MAX).then_some(bytes)
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        amount(text, &BYTES).map(Self).ok_or(SIZE)
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units: Vec<_> = BYTES.into_iter().chain(BITS).collect();
        text.strip_suffix("/s").and_then(|text| amount(text, &units)).map(Self).ok_or(RATE)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BYTES.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::like(SIZE))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::like(RATE))
    }
}

/// As it is written in a file.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written in a file.
impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9.]+ ?([KMGT]iB|[kMGT]B|B)$";
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["64MiB", "512KiB", "20MB"] })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9.]+ ?([KMGT]iB|[kMGT]B|B|[kMG]bit)/s$";
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["20MiB/s", "20MB/s", "100Mbit/s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_read_as_people_write_them() {
        let sizes = ["64MiB", "1.5KiB", "20MB", "20 MB", "7B"].map(|text| text.parse::<Size>().unwrap().get());
        assert_eq!(sizes, [64 << 20, 1536, 20_000_000, 20_000_000, 7]);
        let rates = ["20MiB/s", "1kB/s", "100Mbit/s"].map(|text| text.parse::<Rate>().unwrap().get());
        assert_eq!(rates, [20 << 20, 1000, 12_500_000]);
    }

    #[test]
    fn what_has_no_clear_unit_or_is_nothing_is_refused() {
        for text in ["", "64", "64M", "64mb", "MiB", "0B", "0.0001B", "-1B", "1..5MiB", "99999999999TiB", "20MiB/s"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["20MiB", "20MiB/h", "0MiB/s", "/s", "20 M/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_told_what_it_lacks() {
        for number in ["32", "-1", "1.5"] {
            let size = toml::from_str::<std::collections::BTreeMap<String, Size>>(&format!("chunk = {number}"));
            let told = size.unwrap_err().to_string();
            assert!(told.contains("it has no unit: a size is written like `64MiB`"), "{told}");
        }
        let rate = toml::from_str::<std::collections::BTreeMap<String, Rate>>("limit = true").unwrap_err();
        assert!(rate.to_string().contains("a rate is written like"), "{rate}");
    }

    #[test]
    fn they_read_back_as_they_are_shown() {
        for text in ["64MiB", "1GiB", "20MB", "1234B", "1536B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
            let rate = format!("{text}/s");
            assert_eq!(rate.parse::<Rate>().unwrap().to_string(), rate);
        }
    }
}
