//! Whether only what changed is taken, and since when.

use std::fmt;

use reseed_core::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::manifest::Manifest;
use super::summaries;
use crate::facts::Source;
use crate::session::Session;

/// The first major version that has incremental backups.
const FIRST: u32 = 17;

/// Whether a backup shall be incremental.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wish {
    /// Where it is possible.
    #[default]
    Auto,
    /// Refused where it is not possible, except that the first one is whole.
    Always,
    /// The whole.
    Never,
}

/// A backup that the receiver keeps, from which an increment may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What its manifest says.
    pub manifest: Manifest,
    /// Path of the manifest on the receiver's machine.
    pub path: String,
}

/// What the receiver keeps: put on the board by the receiver when it is asked for its holdings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A backup that an increment may start from.
    Base(Base),
    /// Nothing yet: the first backup is whole in any case.
    Nothing,
    /// Nothing that an increment may start from, and why, in words.
    NoBase(String),
}

/// Why only the whole is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    what: String,
    hint: &'static str,
    /// Whether it must be so even where increments are asked for.
    natural: bool,
}

/// What is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Increment(Base),
    Whole(Option<String>),
    Refused(Why),
}

impl Why {
    fn new(what: impl Into<String>, hint: &'static str) -> Self {
        Self { what: what.into(), hint, natural: false }
    }

    pub(super) fn refusal(&self) -> Error {
        Error::refused(format!("`incremental = \"always\"`, but only the whole is possible: {}", self.what))
            .hint(self.hint)
    }
}

impl Choice {
    /// What is taken for what is wished and possible.
    pub(super) fn new(wish: Wish, possible: Result<Base, Why>) -> Self {
        match (wish, possible) {
            (Wish::Never, _) => Choice::Whole(None),
            (_, Ok(base)) => Choice::Increment(base),
            (Wish::Always, Err(why)) if !why.natural => Choice::Refused(why),
            (_, Err(why)) => Choice::Whole(Some(why.what)),
        }
    }

    /// What the increment starts from.
    pub(super) fn base(&self) -> Option<&Base> {
        match self {
            Choice::Increment(base) => Some(base),
            _ => None,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Increment(base) => write!(f, "what changed since the backup at {}", base.manifest.start),
            Choice::Whole(None) => f.write_str("the whole"),
            Choice::Whole(Some(why)) => write!(f, "the whole: {why}"),
            Choice::Refused(why) => f.write_str(&why.what),
        }
    }
}

/// Whether the source can give increments at all.
pub(super) fn possible(wish: Wish, major: u32, summarizes: bool) -> Result<(), Why> {
    if wish == Wish::Never {
        return Err(Why::new("increments are not asked for", "set `incremental = \"auto\"`"));
    }
    if major < FIRST {
        let what = format!("PostgreSQL {major} gives no incremental base backups, {FIRST} and later do");
        return Err(Why::new(what, "set `incremental = \"auto\"`"));
    }
    if !summarizes {
        let hint = "on the primary: ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();";
        return Err(Why::new("the source runs with summarize_wal = off", hint));
    }
    Ok(())
}

/// The backup from which an increment can start.
pub(super) async fn choose(session: &Session, source: &Source, kept: Option<&Kept>) -> Result<Result<Base, Why>> {
    let again = "set `incremental = \"auto\"`: the next backup is whole then, and increments start from it";
    let base = match kept {
        Some(Kept::Base(base)) => base,
        Some(Kept::NoBase(why)) => return Ok(Err(Why { natural: true, ..Why::new(why, again) })),
        Some(Kept::Nothing) | None => {
            return Ok(Err(Why { natural: true, ..Why::new("no backup was received before", again) }));
        }
    };
    if let Err(what) = fits(&base.manifest, source) {
        return Ok(Err(Why::new(what, again)));
    }
    let gap = summaries::gap(session, base.manifest.timeline, base.manifest.start).await?;
    Ok(match gap {
        None => Ok(base.clone()),
        Some(gap) => Err(Why::new(format!("the source has no WAL summary of what was written at {gap}"), again)),
    })
}

/// Whether the base is one of this cluster, on its present timeline.
fn fits(base: &Manifest, source: &Source) -> Result<(), String> {
    if base.system_identifier.is_some_and(|theirs| theirs != source.system_identifier) {
        return Err("the last backup is one of another cluster".to_owned());
    }
    if base.timeline != source.timeline {
        let (was, is) = (base.timeline, source.timeline);
        return Err(format!("the source has gone from timeline {was} to {is} since the last backup"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        let manifest = Manifest {
            system_identifier: Some(7),
            timeline: 1,
            start: "0/2000028".parse().unwrap(),
            end: "0/2000120".parse().unwrap(),
            checksum: "ab".into(),
        };
        Base { manifest, path: "/b/backup_manifest".into() }
    }

    #[test]
    fn an_increment_is_taken_where_it_is_possible_and_a_whole_says_why() {
        let first = || Why { natural: true, ..Why::new("first", "h") };
        let off = || Why::new("off", "h");
        let said = |wish, possible| Choice::new(wish, possible).to_string();
        assert_eq!(said(Wish::Auto, Ok(base())), "what changed since the backup at 0/2000028");
        assert_eq!(said(Wish::Auto, Err(off())), "the whole: off");
        assert_eq!(said(Wish::Never, Ok(base())), "the whole");
        assert_eq!(said(Wish::Always, Err(first())), "the whole: first");
        assert!(matches!(Choice::new(Wish::Always, Err(off())), Choice::Refused(_)));
    }

    #[test]
    fn what_the_source_lacks_is_named() {
        assert_eq!(possible(Wish::Auto, 17, true), Ok(()));
        assert!(possible(Wish::Auto, 16, false).unwrap_err().what.contains("PostgreSQL 16"));
        assert!(possible(Wish::Always, 18, false).unwrap_err().hint.contains("summarize_wal = on"));
    }
}
