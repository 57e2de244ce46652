//! The copy's settings: written, and read back by PostgreSQL.

use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::Configure;
use crate::facts::{Backup, Source};
use crate::service::Server;
use crate::session::Conninfo;
use crate::target::conf::{self, Settings};
use crate::target::conninfo;
use crate::target::copy::Copy;
use crate::target::proof::Goal;
use crate::target::survey::Old;
use crate::target::values;

/// Settings that would end recovery somewhere; all empty in a standby.
const TARGETS: [&str; 5] =
    ["recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid"];

/// How the standby reaches its primary: as configured, or by the primary's own connection string with
/// what the old standby's had besides. Where nobody knows the primary, as the old standby did, or not at
/// all: then it is empty.
pub(crate) fn upstream(stage: &Configure, source: &Source, old: Option<&Old>) -> Result<String> {
    if let Some(text) = &stage.primary_conninfo {
        return Ok(text.clone());
    }
    let earlier = old.and_then(|old| old.upstream.as_ref());
    if source.upstream.is_empty() {
        return Ok(earlier.map(conninfo::written).unwrap_or_default());
    }
    let ours = Conninfo::parse(&source.upstream)?;
    Ok(conninfo::written(&match earlier {
        Some(earlier) => conninfo::with_habits(ours, earlier),
        None => ours,
    }))
}

/// That a standby that must stream was told from whom.
///
/// # Errors
/// A refusal.
pub(super) fn leads_somewhere(upstream: &str, cx: &CheckCx) -> Result<()> {
    if !upstream.is_empty() || Goal::of(cx.board()) == Goal::Consistent {
        return Ok(());
    }
    Err(Error::refused("nothing tells how the standby reaches its primary").hint(
        "add `primary = \"…\"`, a cluster with a conninfo, to the stage pg-configure; to do without a primary: \
         `proof = \"consistent\"` in the stage that starts the standby",
    ))
}

impl Configure {
    /// The slot that the standby will use.
    pub(super) fn slot(&self, backup: &Backup, old: Option<String>) -> Option<String> {
        self.primary_slot.clone().or_else(|| backup.slot.clone()).or(old)
    }

    /// Every setting of the standby, the operator's first.
    pub(super) fn wanted(&self, upstream: &str, slot: Option<&str>) -> Settings {
        let mut settings: Settings = self.settings.clone();
        settings.push(("primary_conninfo".into(), upstream.to_owned()));
        settings.extend(slot.map(|slot| ("primary_slot_name".to_owned(), slot.to_owned())));
        settings
    }
}

/// Writes the settings so that the copy starts as a standby: `recovery.conf` before version 12,
/// `standby.signal` from then on.
///
/// # Errors
/// When a file can't be written.
pub(super) async fn write(copy: &Copy, major: u32, settings: &Settings) -> Result<()> {
    let files = copy.host.files();
    let (recovery, server): (Settings, Settings) =
        settings.iter().cloned().partition(|(name, _)| major < 12 && conf::of_recovery(name));
    let (name, text) = match major {
        ..12 => ("recovery.conf", conf::recovery_conf(&recovery)),
        _ => ("standby.signal", String::new()),
    };
    let path = format!("{}/{name}", copy.data);
    // Each waits for its disk.
    tokio::try_join!(write_auto_conf(copy, &server), files.write(&path, text.as_bytes(), 0o600)).map(drop)
}

async fn write_auto_conf(copy: &Copy, settings: &Settings) -> Result<()> {
    let path = format!("{}/postgresql.auto.conf", copy.data);
    let copied = copy.host.files().read_text(&path).await?.unwrap_or_default();
    let text = conf::auto_conf(&copied, settings);
    copy.host.files().write(&path, text.as_bytes(), 0o600).await
}

/// Has PostgreSQL read the copy's configuration, and judges what it read. A recovery target of
/// `postgresql.conf` is overridden.
///
/// # Errors
/// When the configuration can't be read, or the copy could not follow its primary with it.
pub(super) async fn prove(
    copy: &Copy,
    server: &Server,
    config_file: Option<&str>,
    source: &Source,
    settings: &Settings,
) -> Result<()> {
    let minimums = source.minimum_settings.iter().map(|(name, _)| name.clone());
    let mut names: Vec<String> = minimums.chain(["hba_file".to_owned()]).collect();
    let major = source.major();
    if major >= 12 {
        names.extend(TARGETS.iter().map(|name| (*name).to_owned()));
        names.extend(["recovery_target_timeline", "primary_conninfo", "primary_slot_name"].map(str::to_owned));
    }
    if (12..16).contains(&major) {
        names.push("promote_trigger_file".into());
    }
    names.push("data_directory".into());
    let written = |name: &str| settings.iter().any(|(written, _)| written == name);
    let asked = |name: &str| written(name) || low_by_itself(name, source);
    let read = values::read_set(server, &copy.data, config_file, &names, asked).await.map_err(unreadable)?;
    high_enough(&read, source)?;
    has_hba(copy, &read).await?;
    // Set is what the server was told to take, unless the file says another.
    if read.iter().any(|(name, _)| name == "data_directory") {
        stays(copy, server, config_file).await?;
    }
    as_set(&read, settings)?;
    let overrides = overrides(&read);
    if overrides.is_empty() {
        return Ok(());
    }
    let all: Settings = settings.iter().cloned().chain(overrides).collect();
    write_auto_conf(copy, &all).await
}

fn unreadable(error: Error) -> Error {
    error
        .context("the copy's configuration can't be read")
        .hint("name the old standby's files in `keep_files`, for example [\"postgresql.conf\", \"pg_hba.conf\"]")
}

/// Values that PostgreSQL 10 to 18 take for what nobody sets: a test asks every version that is installed.
const BUILT_IN: &[(&str, i64)] = &[
    ("max_connections", 100),
    ("max_locks_per_transaction", 64),
    ("max_prepared_transactions", 0),
    ("max_wal_senders", 10),
    ("max_worker_processes", 8),
];

/// Whether a setting that nobody sets would be lower than the primary's.
pub(super) fn low_by_itself(name: &str, source: &Source) -> bool {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map_or(i64::MIN, |(_, value)| *value);
    source.minimum_settings.iter().any(|(known, least)| known == name && *least > built_in)
}

/// That no setting is lower than the primary's.
///
/// # Errors
/// With the setting and what to write.
pub(crate) fn high_enough(read: &Settings, source: &Source) -> Result<()> {
    for (name, least) in &source.minimum_settings {
        let value = read.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let number = value.and_then(|value| value.trim().parse::<i64>().ok());
        if let Some(number) = number.filter(|number| number < least) {
            let error = format!("`{name}` would be {number} on the standby, but is {least} on the primary");
            return Err(Error::failed(error)
                .hint(format!("add `{name} = {least}` to `settings`: a standby must not have less than its primary")));
        }
    }
    Ok(())
}

/// That the server will find who may come in.
async fn has_hba(copy: &Copy, read: &Settings) -> Result<()> {
    let set = read.iter().find(|(name, _)| name == "hba_file").map(|(_, value)| value.clone());
    let path = &set.filter(|path| !path.is_empty()).unwrap_or_else(|| format!("{}/pg_hba.conf", copy.data));
    match copy.host.files().exists(path).await? {
        true => Ok(()),
        false => Err(Error::failed(format!("the standby would have no pg_hba.conf: {path} is not there"))
            .hint("name \"pg_hba.conf\" in `keep_files`")),
    }
}

/// That the server will work on the directory that it is started on, and on no other one.
async fn stays(copy: &Copy, server: &Server, config_file: Option<&str>) -> Result<()> {
    let directory = values::data_directory(server, &copy.data, config_file).await?;
    let directory = directory.trim_end_matches('/');
    if directory == copy.data || directory == server.data_directory {
        return Ok(());
    }
    // The same place by another name is fine.
    let files = copy.host.files();
    if files.canonical(directory).await.ok() == files.canonical(&server.data_directory).await.ok() {
        return Ok(());
    }
    Err(Error::failed(format!("the copy's configuration says `data_directory = '{directory}'`"))
        .hint("take it out of the primary's postgresql.conf, or name the standby's own in `keep_files`"))
}

/// That what was written counts, and nothing else overrides it.
fn as_set(read: &Settings, settings: &Settings) -> Result<()> {
    for (name, value) in read.iter().filter(|(name, _)| name.starts_with("primary_")) {
        let wanted = settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
        if wanted != value {
            return Err(Error::failed(format!("`{name}` of the copy is not what was written to it"))
                .hint(format!("take `{name}` out of the server's other configuration files")));
        }
    }
    Ok(())
}

/// What must be set besides, so that nothing ends the recovery.
fn overrides(read: &Settings) -> Settings {
    let set = |name: &str| TARGETS.contains(&name) || name == "promote_trigger_file";
    let ends = read.iter().filter(|(name, value)| set(name) && !value.is_empty());
    let mut overrides: Settings = ends.map(|(name, _)| (name.clone(), String::new())).collect();
    let timeline = read.iter().find(|(name, _)| name == "recovery_target_timeline");
    if let Some((name, _)) = timeline.filter(|(_, value)| value != "latest") {
        overrides.push((name.clone(), "latest".into()));
    }
    overrides
}

#[cfg(test)]
mod tests {
    use reseed_lab::{Lab, Tool, installed_majors};

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_ends_a_recovery_is_overridden() {
        let read = pairs(&[
            ("recovery_target", ""),
            ("recovery_target_time", "2026-01-01"),
            ("recovery_target_timeline", "3"),
            ("promote_trigger_file", "/tmp/t"),
        ]);
        let wanted = pairs(&[
            ("recovery_target_time", ""),
            ("promote_trigger_file", ""),
            ("recovery_target_timeline", "latest"),
        ]);
        assert_eq!(overrides(&read), wanted);
        assert!(overrides(&pairs(&[("recovery_target", ""), ("recovery_target_timeline", "latest")])).is_empty());
    }

    #[test]
    fn another_primary_conninfo_is_told_without_its_content() {
        let error = as_set(&pairs(&[("primary_conninfo", "host=evil")]), &pairs(&[("primary_conninfo", "host=a")]));
        assert_eq!(error.unwrap_err().to_string(), "`primary_conninfo` of the copy is not what was written to it");
        assert!(as_set(&pairs(&[("primary_slot_name", "")]), &pairs(&[])).is_ok());
    }

    #[test]
    fn what_nobody_sets_is_known_of_every_version() {
        let (lab, majors) = (Lab::new().unwrap(), installed_majors());
        if majors.is_empty() {
            println!("skipped: needs PostgreSQL");
        }
        std::fs::write(lab.path("postgresql.conf"), "").unwrap();
        std::fs::write(lab.path("postgresql.auto.conf"), "").unwrap();
        for major in majors.values() {
            let postgres = major.callable(&lab).unwrap().join("postgres");
            for (name, value) in BUILT_IN {
                let said = Tool::new(&*postgres.to_string_lossy()).args(["-C", name, "-D", &lab.path("")]).run();
                assert_eq!(said.unwrap().trim(), value.to_string(), "{name} of PostgreSQL {}", major.number);
            }
        }
    }
}
