//! What must not change between the survey of a source and the end of its backup.

use reseed_core::{Error, Result};

use crate::session::{Column, Session};

/// Which cluster a server runs, on which timeline, and whether it follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub system_identifier: u64,
    pub timeline: u32,
    pub in_recovery: bool,
}

/// A primary's timeline is that of the WAL it writes: its last checkpoint may be from before a
/// promotion. A standby tells that of its last restart point.
const VITALS: &str = "SELECT s.system_identifier, c.timeline_id, r.in_recovery, \
     CASE WHEN NOT r.in_recovery THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END \
     FROM pg_control_system() s, pg_control_checkpoint() c, (SELECT pg_is_in_recovery() AS in_recovery) r";

impl Vitals {
    /// Asks the server.
    pub async fn read(session: &Session) -> Result<Self> {
        let row = session.row(VITALS, &[]).await?;
        let checkpointed: i32 = row.column(1)?;
        let writes: Option<String> = row.column(3)?;
        let timeline = match writes {
            Some(digits) => u32::from_str_radix(&digits, 16)
                .map_err(|e| Error::failed(format!("`{digits}` is no timeline")).because(e))?,
            None => checkpointed.cast_unsigned(),
        };
        let system_identifier = row.column::<i64>(0)?.cast_unsigned();
        Ok(Self { system_identifier, timeline, in_recovery: row.column(2)? })
    }

    /// Fails if the source is no longer what it was.
    pub fn unchanged_since(self, before: Self) -> Result<()> {
        let changed = if self.system_identifier != before.system_identifier {
            let (was, is) = (before.system_identifier, self.system_identifier);
            format!("the source is another cluster now: its system identifier was {was} and is {is}")
        } else if self.in_recovery != before.in_recovery {
            match before.in_recovery {
                true => "the source was promoted meanwhile".to_owned(),
                false => "the source has become a standby meanwhile".to_owned(),
            }
        } else if self.timeline != before.timeline {
            format!("the source's timeline was {} and is {} now", before.timeline, self.timeline)
        } else {
            return Ok(());
        };
        Err(Error::failed(changed).hint("see that conninfo leads to the primary, and run it again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_named() {
        let before = Vitals { system_identifier: 7, timeline: 1, in_recovery: true };
        assert!(before.unchanged_since(before).is_ok());
        let said = |now: Vitals| now.unchanged_since(before).unwrap_err().to_string();
        assert!(said(Vitals { system_identifier: 8, ..before }).contains("system identifier"));
        assert!(said(Vitals { in_recovery: false, timeline: 2, ..before }).contains("promoted"));
        assert!(said(Vitals { timeline: 2, ..before }).contains("timeline"));
    }
}
