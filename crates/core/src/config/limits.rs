//! Limits of a whole run, and of each of its stages.

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Period, Size};
use crate::engine::{Approach, STALL};
use crate::registry::schema_of;

/// How long no byte may move while a stream flows: a length of time, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall(Option<Duration>);

impl Stall {
    /// None for ever.
    pub(super) fn limit(self) -> Option<Duration> {
        self.0
    }
}

impl Default for Stall {
    fn default() -> Self {
        Self(Some(STALL))
    }
}

impl<'de> Deserialize<'de> for Stall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse::<Period>() {
            Ok(Period(limit)) if !limit.is_zero() => Ok(Self(Some(limit))),
            _ => Err(serde::de::Error::custom("a length of time like `10m` belongs here, or `off`")),
        }
    }
}

/// When a long first seeding is done in rounds: whole increments without a replication slot, until the
/// next one is small; only then comes the run itself. By default that is so where the whole is sent and is
/// known to be larger than `until`. What the rounds brought stays, even if the run fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApproachConfig {
    /// How large an increment may be that is left to the run itself.
    until: Size,
    /// How many rounds there may be before the run; with 0 there are none.
    rounds: u32,
}

impl Default for ApproachConfig {
    fn default() -> Self {
        let usual = Approach::default();
        Self { until: Size::bytes(usual.until).unwrap_or(GIB), rounds: usual.rounds }
    }
}

const GIB: Size = match Size::bytes(1 << 30) {
    Some(size) => size,
    None => unreachable!(),
};

impl From<ApproachConfig> for Approach {
    fn from(config: ApproachConfig) -> Self {
        Self { until: config.until.get(), rounds: config.rounds, blindly: true }
    }
}

/// The schema of `[approach]`.
pub(super) fn approach_schema() -> Value {
    let mut schema = schema_of::<ApproachConfig>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
    }
    schema
}

/// The schema of `stall`.
pub(super) fn stall_schema() -> Value {
    json!({
        "description": STALL_DOC,
        "type": "string",
        "default": Period(STALL),
        "examples": ["10m", "1h", "off"],
    })
}

/// The schema of the `timeout` that every stage has which has none of its own.
pub(super) fn timeout_schema() -> Value {
    json!({ "description": TIMEOUT_DOC, "type": "string", "examples": ["90s", "30m", "24h"] })
}

/// What `stall` is for.
const STALL_DOC: &str = "How long no byte may move while a stream flows, whatever the time that the \
    whole takes: then the run fails, says which end was waited for, and everything is taken back. `off` waits for ever.";

/// What `timeout` is for.
pub const TIMEOUT_DOC: &str = "How long the stage may take before the run fails and everything is taken \
    back. Of a stage that gives streams: until the last of them was received. Without it there is no limit but \
    that of `stall`.";

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(text: &str) -> Result<Option<Duration>, serde_json::Error> {
        serde_json::from_value::<Stall>(text.into()).map(Stall::limit)
    }

    #[test]
    fn a_stall_is_a_length_of_time_or_off() {
        assert_eq!(stall("90s").unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(stall("off").unwrap(), None);
        assert!(stall("0s").is_err() && stall("10").is_err());
        assert_eq!(Stall::default().limit(), Some(Duration::from_secs(600)));
    }
}
