//! The head and the end of a backup manifest; the list of files between them may be huge.
//!
//! Format: <https://www.postgresql.org/docs/current/backup-manifest-format.html>.

use reseed_core::host::{Command, Host};
use reseed_core::{Error, Result};
use serde::Deserialize;

use crate::lsn::Lsn;

/// What a manifest says of its backup as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// System identifier of the cluster; version 17 and later tell it.
    pub system_identifier: Option<u64>,
    /// Timeline at the end of the backup.
    pub timeline: u32,
    /// Where the WAL that the backup needs begins.
    pub start: Lsn,
    /// Where the backup ended.
    pub end: Lsn,
    /// The manifest's checksum, which also covers the checksum of every file: the backup's identity.
    pub checksum: String,
}

/// Prints the head and, behind a line of its own, the end.
const ENDS: &str = r#"[ -e "$1" ] || exit 44; head -c 300 -- "$1" && echo && echo --- && tail -c 4096 -- "$1""#;
const ABSENT: i32 = 44;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

impl Manifest {
    /// Reads the manifest of the backup in a directory; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that can't be read.
    pub(super) async fn read(host: &dyn Host, directory: &str) -> Result<Option<Self>> {
        let path = format!("{directory}/backup_manifest");
        let ends = Command::script(ENDS).titled("ends-of").arg(&path).as_root();
        let output = host.output(ends).await?;
        if output.exit.code() == Some(ABSENT) {
            return Ok(None);
        }
        output.exit.success_on(host.name())?;
        let read = parse(&output.text());
        read.map(Some).ok_or_else(|| Error::failed(format!("{path} on {} is no whole manifest", host.name())))
    }
}

fn parse(text: &str) -> Option<Manifest> {
    let (head, tail) = text.split_once("\n---\n")?;
    let value = |text: &str, key: &str| {
        let (_, rest) = text.rsplit_once(&format!("\"{key}\": "))?;
        let end = rest.find([',', '}', '\n']).unwrap_or(rest.len());
        Some(rest[..end].trim().trim_matches('"').to_owned())
    };
    let ranges = tail.rsplit_once("\"WAL-Ranges\": ")?.1;
    let ranges: Vec<Range> = serde_json::from_str(&ranges[..=ranges.find(']')?]).ok()?;
    let first = ranges.iter().min_by_key(|range| range.timeline)?;
    let last = ranges.iter().max_by_key(|range| range.timeline)?;
    Some(Manifest {
        system_identifier: value(head, "System-Identifier").and_then(|id| id.parse().ok()),
        timeline: last.timeline,
        start: first.start.parse().ok()?,
        end: last.end.parse().ok()?,
        checksum: value(tail, "Manifest-Checksum").filter(|checksum| checksum.len() == 64)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of a manifest of PostgreSQL 18.
    const NEW: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7711521179165816390,
"Files": [
{ "Path": "backup_label", "Size": 201, "Last-Modified": "2026-11-24 00:00:40 GMT", "Checksum-Algorithm":
---
.done", "Size": 0, "Last-Modified": "2026-11-24 00:00:40 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "00000000" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120" }
],
"Manifest-Checksum": "8e285ae8ff42953116dac16a86eed59bc0360534adf09aa63e39b48beca1a7da"}
"#;

    #[test]
    fn the_ends_of_a_manifest_are_read() {
        let manifest = parse(NEW).unwrap();
        assert_eq!(manifest.system_identifier, Some(7_711_521_179_165_816_390));
        assert_eq!((manifest.timeline, manifest.end.to_string()), (1, "0/2000120".into()));
        assert!(manifest.checksum.starts_with("8e285ae8") && manifest.checksum.len() == 64);
        let old = NEW.replace("\"System-Identifier\": 7711521179165816390,\n", "");
        assert_eq!(parse(&old).unwrap().system_identifier, None);
    }

    #[test]
    fn a_backup_across_a_promotion_has_a_range_for_each_timeline() {
        let range = "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000120\" }";
        let two = format!("{{ \"Timeline\": 2, \"Start-LSN\": \"0/2000120\", \"End-LSN\": \"0/3000000\" }},\n{range}");
        let manifest = parse(&NEW.replace(range, &two)).unwrap();
        assert_eq!(manifest.timeline, 2);
        assert_eq!((manifest.start.to_string(), manifest.end.to_string()), ("0/2000028".into(), "0/3000000".into()));
    }

    #[test]
    fn a_manifest_that_was_cut_is_none() {
        assert_eq!(parse(&NEW[..NEW.len() - 20]), None);
        assert_eq!(parse("{ \"PostgreSQL-Backup-Manifest-Version\": 2\n---\n{}"), None);
    }
}
