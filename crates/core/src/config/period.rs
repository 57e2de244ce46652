//! Lengths of time as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Text;

const PERIOD: &str = "a length of time is written like `90s`, `30m` or `24h`";

/// A length of time: `24h`, `90s`, `1h 30m`, `7d`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl Period {
    /// A period of so many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = length(text).and_then(|length| Duration::try_from(length).ok());
        parsed.map(Self).ok_or(PERIOD)
    }
}

/// A day has 24 hours here: nobody means that a copy is kept an hour longer in autumn.
fn length(text: &str) -> Option<jiff::SignedDuration> {
    text.parse::<jiff::Span>().ok()?.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// As it is written in a file: `24h`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds, self.0.subsec_millis()) {
            (seconds, millis @ 1..) => write!(f, "{}ms", seconds * 1000 + u64::from(millis)),
            (seconds @ 1.., _) if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            (seconds @ 1.., _) if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::like(PERIOD))
    }
}

/// As it is written in a file.
impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["90s", "30m", "24h"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_reads_back_as_it_is_written() {
        for text in ["0s", "90s", "30m", "24h", "1500ms"] {
            let period: Period = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(period).unwrap(), text);
        }
    }
}
