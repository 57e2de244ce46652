//! One line of a journal: an entry as JSON, with its time and a checksum.
//!
//! The checksum is over the line in front of it and over that of the line before, so that a line that is
//! torn, changed, missing or out of its place is seen. A line can be read by any JSON program.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Entry;

/// Bytes of a SHA-256 that are kept: a journal is guarded against accidents, not against its owner.
const KEPT: usize = 8;

/// The checksum of a line; that of nothing is in front of the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum([u8; KEPT]);

impl Sum {
    fn after(self, text: &str) -> Self {
        let hash = Sha256::new().chain_update(self.0).chain_update(text).finalize();
        let mut kept = [0; KEPT];
        kept.copy_from_slice(&hash[..KEPT]);
        Self(kept)
    }

    /// What stands at the end of its line.
    fn tail(self) -> String {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(r#","sum":"{hex}"}}"#)
    }
}

/// An entry and when it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The time, in UTC by the writer's clock.
    pub(super) at: jiff::Timestamp,
    #[serde(flatten)]
    pub(super) entry: Entry,
}

impl Line {
    /// The line's text without a line end, and its checksum.
    pub(super) fn write(&self, before: Sum) -> serde_json::Result<(String, Sum)> {
        let mut text = serde_json::to_string(self)?;
        text.pop();
        let sum = before.after(&text);
        text.push_str(&sum.tail());
        Ok((text, sum))
    }

    /// The lines that can be read one by one, whatever their checksums say. To refuse by, not to act on.
    pub(super) fn alone(bytes: &[u8]) -> Vec<Self> {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter_map(|text| serde_json::from_slice(text).ok()).collect()
    }

    /// Reads a line without its line end; `None` where it is not whole, or not the one that follows.
    pub(super) fn read(text: &[u8], before: Sum) -> Option<(Self, Sum)> {
        let text = std::str::from_utf8(text).ok()?;
        let at = text.len().checked_sub(Sum::default().tail().len())?;
        let (body, tail) = text.split_at_checked(at)?;
        let sum = before.after(body);
        if sum.tail() != tail {
            return None;
        }
        let line = serde_json::from_str(&format!("{body}}}")).ok()?;
        Some((line, sum))
    }
}
