//! The stage's table in a pipeline file.

use std::collections::BTreeMap;
use std::sync::Arc;

use reseed_core::config::{BuildCx, Located, Problem, Ref};
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::Stage;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Configure;
use crate::cluster::Cluster;
use crate::session::{Conninfo, tells_a_password};
use crate::target::conf::{Value, is_name};
use crate::target::places::Wishes;

/// Makes the received copy a standby: on the copy, before anything stops. It puts the backup label
/// and the tablespace map in, cleans up what belonged to the primary's own server, sets how the
/// standby reaches its primary, keeps named files of the old standby, applies settings, and has
/// PostgreSQL read the result.
///
/// While checking it refuses a target that is a primary or a copy of another cluster, programs of
/// another major version, and settings that are lower than the primary's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigureConfig {
    /// The standby, from `[clusters]`. It needs a `data_directory`; if nothing is there yet, this is
    /// its first seeding.
    cluster: Ref,
    /// Settings of the standby. They go to `postgresql.auto.conf` of the copy and so win over
    /// `postgresql.conf`; before PostgreSQL 12, what belongs to recovery goes to `recovery.conf`.
    /// Values are strings, numbers or booleans; the unit is PostgreSQL's where the value names none.
    #[serde(default)]
    settings: BTreeMap<String, Located<Value>>,
    /// Files of the old standby that replace those of the copy, by their path in the data directory:
    /// `postgresql.conf`, `pg_hba.conf`, `server.key` … Content, owner and mode are kept. They are
    /// read at the beginning of the run. A file that is not there is refused, except in a first
    /// seeding, which has none.
    #[serde(default)]
    keep_files: Vec<Located<String>>,
    /// Where tablespaces go: the path on the primary and the path on the standby, as with
    /// `pg_basebackup -T`. By default where the old standby has them, else the same path.
    #[serde(default)]
    tablespace_mapping: BTreeMap<String, Located<String>>,
    /// Where `pg_wal` goes if the primary has it outside the data directory or on a mount point of
    /// its own, as with `pg_basebackup --waldir`. By default where the old standby has it, else the
    /// same path.
    wal_directory: Option<Located<String>>,
    /// How the standby reaches its primary, as in `primary_conninfo`. By default the `conninfo` of
    /// the primary's cluster, with the `application_name` of the old standby and, for the same user,
    /// its password, certificates and time limits. A password of `[clusters]` is never written:
    /// put it into `~/.pgpass` of the server's user.
    primary_conninfo: Option<Located<String>>,
    /// The physical replication slot that the standby uses. It must exist on the primary. By default
    /// the slot that this run makes, which retains exactly the WAL that the copy needs.
    primary_slot: Option<Located<String>>,
    /// The primary, from `[clusters]`, where no stage of the pipeline works on it: for streams from a
    /// repository. Its `conninfo` is how the standby reaches it. While checking it is asked whether the copy
    /// can follow it, and a replication slot is made there in the run. Where there is none, the standby
    /// goes on with the primary that it had.
    primary: Option<Ref>,
    /// The server's `postgresql.conf` if it is outside the data directory. Found by itself for
    /// `pg-ctlcluster` and from the last start of the old standby.
    config_file: Option<Located<String>>,
    /// Whether a data directory may be replaced that was a primary when it was last up, as after a
    /// failover. Its server must be down. Default: false.
    #[serde(default)]
    allow_primary: bool,
    /// Whether the standby may lie on a storage that overwrites in place although the primary runs with
    /// `full_page_writes = off`: if its machine crashes, pages may be torn, and it must be seeded anew.
    /// Default: false.
    #[serde(default)]
    allow_torn_pages: bool,
}

register_stage!(ConfigureConfig);

/// Files that a copy must have from its source.
const NEVER_KEPT: [&str; 9] = [
    "PG_VERSION",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
    "standby.signal",
    "recovery.signal",
    "recovery.conf",
];

impl StageConfig for ConfigureConfig {
    const NAME: &'static str = "pg-configure";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let problems = self.problems();
        let sound = problems.is_empty();
        problems.into_iter().for_each(|problem| cx.problem(problem));
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        let primary = match &self.primary {
            Some(primary) => Some(cx.resource::<Cluster>("clusters", primary)?),
            None => None,
        };
        sound.then(|| Arc::new(self.stage(cluster, primary)) as _)
    }
}

fn path(text: &str) -> String {
    match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

impl ConfigureConfig {
    fn stage(self, cluster: Arc<Cluster>, primary: Option<Arc<Cluster>>) -> Configure {
        let mapping = self.tablespace_mapping.into_iter().map(|(from, to)| (path(&from), path(&to)));
        let wishes = Wishes {
            wal_directory: self.wal_directory.map(|directory| path(&directory)),
            tablespaces: mapping.collect(),
        };
        Configure {
            cluster,
            primary,
            settings: self.settings.into_iter().map(|(name, value)| (name, value.into_inner().0)).collect(),
            keep_files: self.keep_files.into_iter().map(Located::into_inner).collect(),
            wishes,
            primary_conninfo: self.primary_conninfo.map(Located::into_inner),
            primary_slot: self.primary_slot.map(Located::into_inner),
            config_file: self.config_file.map(Located::into_inner),
            allow_primary: self.allow_primary,
            allow_torn_pages: self.allow_torn_pages,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.settings.iter().filter_map(|(name, value)| of_setting(name, value)).collect();
        problems.extend(self.keep_files.iter().filter_map(of_kept));
        for (from, to) in self.tablespace_mapping.iter().filter(|(from, to)| !absolute(from) || !absolute(to)) {
            problems.push(Problem::at(to.span(), format!("`{from}` and `{}` must be absolute paths", **to)));
        }
        for path in [&self.wal_directory, &self.config_file].into_iter().flatten().filter(|path| !absolute(path)) {
            problems.push(Problem::at(path.span(), "this must be an absolute path"));
        }
        problems.extend(self.primary_conninfo.iter().filter_map(of_conninfo));
        let slot_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        for slot in self.primary_slot.iter().filter(|slot| slot.is_empty() || !slot.chars().all(slot_letter)) {
            problems.push(Problem::at(slot.span(), "a slot's name is made of a-z, 0-9 and `_`"));
        }
        problems
    }
}

fn absolute(path: &str) -> bool {
    path.starts_with('/') && !path.split('/').any(|part| part == "..")
}

/// What is wrong with a setting.
fn of_setting(name: &str, value: &Located<Value>) -> Option<Problem> {
    let lower = name.to_ascii_lowercase();
    let problem = |message: String| Problem::at(value.span(), message);
    if !is_name(name) {
        return Some(problem(format!("`{name}` can't be the name of a setting")));
    }
    let own = match lower.as_str() {
        "primary_conninfo" => "primary_conninfo",
        "primary_slot_name" => "primary_slot",
        _ => "",
    };
    if !own.is_empty() {
        return Some(problem(format!("`{name}` is no setting here")).hint(format!("use the key `{own}` of the stage")));
    }
    let ends_recovery = lower.starts_with("recovery_target") || matches!(lower.as_str(), "standby_mode");
    if ends_recovery {
        return Some(problem(format!("`{name}` would end the recovery, and the standby would promote itself")));
    }
    let places = ["data_directory", "config_file"];
    places.contains(&lower.as_str()).then(|| problem(format!("`{name}` can't be set in a standby's own settings")))
}

/// What is wrong with a connection string for libpq, which may have more keywords than reseed knows.
fn of_conninfo(text: &Located<String>) -> Option<Problem> {
    if tells_a_password(text) {
        let problem = Problem::at(text.span(), "a password in the file would be in every journal of its runs");
        return Some(problem.private().hint("take it out and put it into ~/.pgpass of the server's user"));
    }
    let error = Conninfo::parse(text).err()?;
    Some(Problem::at(text.span(), error.chain()).hint(error.hint_text().unwrap_or_default()))
}

/// What is wrong with the name of a file to keep.
fn of_kept(name: &Located<String>) -> Option<Problem> {
    let problem = |message: String| Some(Problem::at(name.span(), message));
    let parts: Vec<_> = name.split('/').collect();
    if name.starts_with('/') || parts.iter().any(|part| part.is_empty() || *part == ".." || *part == ".") {
        let hint = "files outside the data directory stay as they are and need not be named";
        return problem(format!("`{}` is no path inside the data directory", **name)).map(|problem| problem.hint(hint));
    }
    let data = ["base", "global"].contains(&parts[0]) || (parts[0].starts_with("pg_") && parts.len() > 1);
    if data || NEVER_KEPT.contains(&name.as_str()) {
        return problem(format!("`{}` is part of the data and always comes with the copy", **name));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> Option<String> {
        of_kept(&Located::nowhere(name.to_owned())).map(|problem| problem.message)
    }

    #[test]
    fn only_files_inside_that_are_no_data_can_be_kept() {
        for name in ["postgresql.conf", "pg_hba.conf", "conf.d/x.conf", "server.key", "postgresql.auto.conf"] {
            assert_eq!(kept(name), None, "{name}");
        }
        for name in ["/etc/passwd", "../x", "a/../../x", "", "conf.d/", "base/1/2", "pg_wal/x", "global/pg_control"] {
            assert!(kept(name).is_some(), "{name}");
        }
        assert!(kept("backup_label").is_some() && kept("standby.signal").is_some());
    }

    #[test]
    fn settings_that_would_end_a_standby_are_told() {
        let wrong = |name: &str| of_setting(name, &Located::nowhere(Value("x".into()))).map(|problem| problem.message);
        assert_eq!(wrong("hot_standby"), None);
        assert!(wrong("Recovery_Target_LSN").unwrap().contains("promote itself"));
        assert_eq!(wrong("primary_conninfo").unwrap(), "`primary_conninfo` is no setting here");
        assert!(wrong("a b").is_some() && wrong("data_directory").is_some());
    }
}
