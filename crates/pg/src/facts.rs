//! What the stages of the primary find out and those of the standby need.

use reseed_core::item::{Fact, Facts, StagedFacts};
use reseed_core::stage::{Ahead, CheckCx};
use reseed_core::{Error, Result, names};
use serde::{Deserialize, Serialize};

/// How the snapshot is made sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One atomic snapshot of everything: PostgreSQL sees a crash and recovers from its own WAL.
    Atomic,
    /// Snapshots inside backup mode, with a `backup_label` in the copy.
    Backup,
}

/// A tablespace outside the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its OID, which is the name of its link in `pg_tblspc`.
    pub oid: u32,
    /// Its directory, links resolved.
    pub path: String,
}

/// The source's directories, links resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The data directory.
    pub data_directory: String,
    /// Where `pg_wal` leads, if it is a link or a mount point of its own.
    pub wal_directory: Option<String>,
    /// Tablespaces.
    pub tablespaces: Vec<Tablespace>,
}

impl Layout {
    /// Judges paths that another machine, its server or a repository told.
    ///
    /// # Errors
    /// Which of them is none.
    pub(crate) fn check(&self) -> Result<()> {
        let tablespaces = self.tablespaces.iter().map(|tablespace| &tablespace.path);
        let mut all = [&self.data_directory].into_iter().chain(&self.wal_directory).chain(tablespaces);
        match all.find_map(|path| Some((path, names::wrong_path(path)?))) {
            Some((path, why)) => {
                let text = format!("`{}` is told to be a directory of the source: {why}", names::shown(path));
                Err(Error::refused(text))
            }
            None => Ok(()),
        }
    }
}

/// What identifies a cluster and decides whether another can follow it. Put on the board while
/// surveying the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// System identifier from `pg_control`.
    pub system_identifier: u64,
    /// `server_version_num`, for example 150018.
    pub version: u32,
    /// Timeline of the last checkpoint.
    pub timeline: u32,
    /// Its directories.
    pub layout: Layout,
    /// Settings that a standby must not have lower: `max_connections` and kin, with their values.
    pub minimum_settings: Vec<(String, i64)>,
    /// Bytes of a WAL segment.
    pub wal_segment_size: u64,
    /// Whether data checksums are on.
    pub data_checksums: bool,
    /// Whether whole pages are written to the WAL after a checkpoint. Without them a crash can leave
    /// torn pages, except on a storage that never overwrites in place.
    #[serde(default = "yes")]
    pub full_page_writes: bool,
    /// Connection string for the standby's WAL receiver, without a password.
    pub upstream: String,
}

fn yes() -> bool {
    true
}

impl Source {
    /// The major version: 10, 11 … 18.
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Judges what a repository keeps of a source: paths, and names of settings, which end up in
    /// configuration files.
    ///
    /// # Errors
    /// A refusal that names what is wrong.
    pub(crate) fn check(&self) -> Result<()> {
        self.layout.check()?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        match self.minimum_settings.iter().find(|(name, _)| name.is_empty() || !name.chars().all(plain)) {
            Some((name, _)) => Err(Error::refused(format!("`{}` is no name of a setting", names::shown(name)))),
            None => Ok(()),
        }
    }
}

impl Fact for Source {
    const KEY: &'static str = "postgresql.source";
}

/// The backup as it was taken: in the item from `pg-quiesce` on, completed by `pg-release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// How the snapshot is made sound.
    pub mode: Mode,
    /// Whether the content of `pg_wal` is in the snapshot.
    pub wal_included: bool,
    /// Name of the physical slot that retains the WAL which the standby will need; where the run has
    /// branches, what the slots of all of them begin with.
    pub slot: Option<String>,
    /// `backup_label` as the server gave it, byte for byte (mode backup, after release).
    pub label: Option<String>,
    /// `tablespace_map` as the server gave it (mode backup, after release), if it is not empty.
    pub tablespace_map: Option<String>,
    /// The LSN past which a standby must have replayed to count as good: the end of the backup, or
    /// the insert position after an atomic snapshot. Known after release.
    pub proof_lsn: Option<String>,
}

impl Backup {
    /// The backup of an item, as the stage that asks sees it: each branch of a run has a slot of its
    /// own.
    ///
    /// # Errors
    /// When the item's backup has another shape.
    pub(crate) fn seen_from(facts: &Facts, cx: &CheckCx) -> Result<Option<Self>> {
        let mut backup = facts.get::<Self>()?;
        // The slots of the run that put it there are none of this one's.
        let own = cx.board().get::<StagedFacts>().is_none();
        if let Some(backup) = &mut backup {
            backup.slot = backup.slot.take().filter(|_| own).map(|slot| slot_of(&slot, cx.branch()));
        }
        Ok(backup)
    }
}

/// The slot of a branch, where the run's is called `run`. Slots take letters, digits and `_` only.
fn slot_of(run: &str, branch: Option<&str>) -> String {
    match branch {
        Some(branch) => format!("{run}_{}", branch.replace('-', "_")),
        None => run.to_owned(),
    }
}

/// The standbys' slots of a run whose own would be called `run`: that one, or one for each branch that
/// ends with a standby, with the branch's name.
pub(crate) fn slots(run: &str, branches: &[Ahead]) -> Vec<(Option<String>, String)> {
    if branches.is_empty() {
        return vec![(None, run.to_owned())];
    }
    let standbys = branches.iter().filter(|branch| branch.gives_standby());
    standbys.map(|branch| (Some(branch.name.clone()), slot_of(run, Some(&branch.name)))).collect()
}

impl Fact for Backup {
    const KEY: &'static str = "postgresql.backup";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let tablespaces = vec![Tablespace { oid: 16385, path: "/srv/a b".into() }];
        Source {
            system_identifier: 1,
            version: 150_018,
            timeline: 1,
            layout: Layout { data_directory: "/d".into(), wal_directory: Some("/w".into()), tablespaces },
            minimum_settings: vec![("max_connections".into(), 100)],
            wal_segment_size: 16 << 20,
            data_checksums: true,
            full_page_writes: true,
            upstream: String::new(),
        }
    }

    #[test]
    fn names_of_a_source_are_judged_before_they_reach_a_command_or_a_file() {
        assert!(source().check().is_ok());
        for hostile in ["d", "/d/../etc", "/d\n/etc", "/d/", "-rf", "/\u{1b}[2J"] {
            let mut data = source();
            data.layout.data_directory = hostile.into();
            let mut wal = source();
            wal.layout.wal_directory = Some(hostile.into());
            let mut space = source();
            space.layout.tablespaces[0].path = hostile.into();
            for bad in [data, wal, space] {
                let told = bad.check().unwrap_err().chain();
                assert!(told.contains("is told to be a directory of the source"), "{told}");
                assert!(!told.contains(char::is_control), "{told:?}");
            }
        }
        for hostile in ["", "a = 1\nrecovery_target_action", "shared preload", "A'"] {
            let minimum_settings = vec![(hostile.to_owned(), 1)];
            assert!(Source { minimum_settings, ..source() }.check().is_err(), "{hostile:?}");
        }
    }
}
