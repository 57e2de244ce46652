//! The stage `pg-configure`: makes a received copy a standby, before anything stops.

mod config;
mod credentials;
pub(crate) mod kept;
pub(crate) mod settings;
mod tearing;

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, Place, Places, StaysPristine, Volume};
use reseed_core::leftover::Leftovers;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};

use super::conf::Settings;
use super::control_file::ControlFile;
use super::copy::Copy;
use super::judge::{AllowPrimary, claim, judge};
use super::places::{Wishes, places, target_of};
use super::staged::{self, Followed};
use super::survey::{self, Standby, standby};
use super::{tablespaces, values};
use crate::cluster::{Cluster, Primary};
use crate::facts::{Backup, Mode, Source};
use crate::service::Server;
use crate::session::Conninfo;

/// The stage.
#[derive(Debug)]
pub(crate) struct Configure {
    cluster: Arc<Cluster>,
    settings: Settings,
    keep_files: Vec<String>,
    wishes: Wishes,
    primary_conninfo: Option<String>,
    primary_slot: Option<String>,
    primary: Option<Arc<Cluster>>,
    config_file: Option<String>,
    allow_primary: bool,
    allow_torn_pages: bool,
}

/// What was read of the old standby while surveying.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Vec<kept::KeptFile>);

/// What the copy was configured with: on the board for the proof.
#[derive(Debug)]
pub(crate) struct Configured {
    /// The slot that the standby uses.
    pub(crate) slot: Option<String>,
    /// How it reaches its primary.
    pub(crate) upstream: String,
    /// Its `postgresql.conf`, if that is outside the data directory.
    pub(crate) config_file: Option<String>,
}

#[async_trait]
impl Stage for Configure {
    fn name(&self) -> &str {
        "pg-configure"
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Dataset(_) => Ok(input.clone()),
            other => Err(Mismatch::new("a dataset", other, other.clone()).hint("it works on what was received")),
        }
    }

    fn locks(&self) -> Vec<Claim> {
        self.cluster.locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.cluster.host))
    }

    async fn scout(&self, cx: &CheckCx) {
        survey::scout(&self.cluster, cx).await;
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        claim(cx);
        if self.allow_primary {
            cx.board().put(AllowPrimary);
        }
        if let Some(primary) = &self.primary {
            cx.board().put(Followed(Arc::clone(primary)));
        }
        let source = source(cx)?;
        let standby = standby(&self.cluster, cx).await?;
        let places = places(&source.layout, &standby.real_directory, standby.old.as_ref(), &self.wishes)?;
        cx.board().put(Places(places));
        let kept = match &standby.old {
            Some(_) => kept::read(&standby, &self.keep_files).await?,
            None => vec![],
        };
        cx.board().put(Kept(kept));
        if standby.old.is_none() {
            let files = if self.keep_files.is_empty() { "" } else { "; all files come from the primary" };
            cx.note(format!("first seeding: nothing is in {} yet{files}", standby.data_directory));
        }
        Ok(())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let (source, standby) = (source(cx)?, standby(&self.cluster, cx).await?);
        judge(&standby, cx).await?;
        if let Some(pristine) = cx.board().get::<StaysPristine>() {
            return Err(
                Error::refused("what is received stays as it is, and no server can run on it").hint(pristine.hint)
            );
        }
        staged::check(cx).await?;
        // The primary may have told more than the repository.
        let source = if staged::is_staged(cx.board()) { self::source(cx)? } else { source };
        let server = server(&standby)?;
        self.user_exists(server).await?;
        apart(&standby, &source, cx).await?;
        let upstream = settings::upstream(self, &source, standby.old.as_ref())?;
        settings::leads_somewhere(&upstream, cx)?;
        credentials::readable(&upstream, server).await?;
        leads_there(&upstream, &standby, cx).await?;
        settings::high_enough(&self.settings, &source)?;
        tearing::judge(self.allow_torn_pages, &source, &standby, cx).await?;
        self.kept_settings_high_enough(&standby, server, &source).await
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        crate::leftovers::on_target(&self.cluster, cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Dataset(volume) = &input.payload else {
            return Err(Error::failed("pg-configure was given something that is no dataset"));
        };
        let backup = Backup::seen_from(&input.facts, cx)?;
        let mut backup = backup.ok_or_else(|| Error::failed("nothing tells how the copy was made"))?;
        if self.primary_slot.is_none() && staged::is_staged(cx.board()) {
            backup.slot = staged::make_slot(cx).await?;
        }
        let (source, standby) = (source(cx)?, standby(&self.cluster, cx).await?);
        let work =
            Work { stage: self, source: &source, standby: &standby, volume: volume.as_ref(), backup: &backup, cx };
        work.run().await?;
        Ok(input)
    }
}

/// What the primary told of itself.
pub(crate) fn source(cx: &CheckCx) -> Result<Arc<Source>> {
    staged::learn(cx)?;
    let missing = || {
        Error::refused("nothing tells about the primary")
            .hint("begin the pipeline with `pg-quiesce`, or with `s3-get` where a repository has it")
    };
    cx.board().need(missing)
}

/// The server of the target.
pub(crate) fn server(standby: &Standby) -> Result<&Server> {
    let server = standby.server.as_ref();
    let missing = || Error::refused(format!("nothing tells the version of {}", standby.data_directory));
    server.ok_or_else(|| missing().follow_up())
}

/// That the standby is not told to find its primary behind a socket of its own machine, where that is
/// another's.
async fn leads_there(upstream: &str, standby: &Standby, cx: &CheckCx) -> Result<()> {
    let conninfo = Conninfo::parse(upstream)?;
    let socket = conninfo.get("hostaddr").is_none() && conninfo.get("host").is_none_or(|host| host.starts_with('/'));
    let Some(primary) = cx.board().get::<Primary>().filter(|_| socket) else { return Ok(()) };
    if primary.0.host.machine().await? == standby.cluster.host.machine().await? {
        return Ok(());
    }
    let error = format!("the standby would look for its primary behind a socket of its own machine: {conninfo}");
    Err(Error::refused(error).hint(format!(
        "add `primary_conninfo = \"host=… user=…\"` to the stage pg-configure, or the primary's address to \
         `conninfo` of [clusters.{}]",
        primary.0.name
    )))
}

/// That no directory of the source is its own place on the target.
async fn apart(standby: &Standby, source: &Source, cx: &CheckCx) -> Result<()> {
    let (Some(primary), Some(places)) = (cx.board().get::<Primary>(), cx.board().get::<Places>()) else {
        return Ok(());
    };
    let layout = &source.layout;
    let theirs: Vec<_> =
        layout.tablespaces.iter().map(|tablespace| &tablespace.path).chain(&layout.wal_directory).collect();
    let Some(place) = places.0.iter().find(|place| theirs.contains(&&place.target)) else { return Ok(()) };
    if primary.0.host.machine().await? != standby.cluster.host.machine().await? {
        return Ok(());
    }
    let wal = layout.wal_directory.as_deref() == Some(&place.source);
    let hint = match wal {
        true => "set `wal_directory` of the stage pg-configure".to_owned(),
        false => format!("add `tablespace_mapping = {{ \"{}\" = \"/…\" }}` to the stage pg-configure", place.source),
    };
    Err(Error::refused(format!("{} is in use by the primary on this same machine", place.target)).hint(hint))
}

impl Configure {
    async fn user_exists(&self, server: &Server) -> Result<()> {
        let id = reseed_core::host::Command::new("id").args(["-u", &server.user]);
        if server.host.output(id).await?.exit.success() {
            return Ok(());
        }
        Err(Error::refused(format!("there is no user `{}` on {}", server.user, server.host.name()))
            .hint(format!("set `user` of [clusters.{}] to the one that runs the server", self.cluster.name)))
    }

    /// The server's `postgresql.conf`, if it is outside the data directory.
    fn config_file(&self, standby: &Standby, server: &Server) -> Option<String> {
        let last = standby.old.as_ref().and_then(|old| old.config_file.clone());
        self.config_file.clone().or_else(|| server.debian_config()).or(last)
    }

    /// Where the standby's own `postgresql.conf` stays, it must not say less than the primary's.
    async fn kept_settings_high_enough(&self, standby: &Standby, server: &Server, source: &Source) -> Result<()> {
        let config_file = self.config_file(standby, server);
        let kept = self.keep_files.iter().any(|name| name == "postgresql.conf") || config_file.is_some();
        if standby.old.is_none() || !kept {
            return Ok(());
        }
        let set = |name: &str| self.settings.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let names = source.minimum_settings.iter().map(|(name, _)| name.clone()).filter(|name| !set(name));
        let names: Vec<_> = names.collect();
        let low = |name: &str| settings::low_by_itself(name, source);
        let read = values::read_set(server, &standby.data_directory, config_file.as_deref(), &names, low).await?;
        settings::high_enough(&read, source)
    }
}

/// One run of the stage.
struct Work<'a> {
    stage: &'a Configure,
    source: &'a Source,
    standby: &'a Standby,
    volume: &'a dyn Volume,
    backup: &'a Backup,
    cx: &'a StageCx,
}

impl Work<'_> {
    async fn run(&self) -> Result<()> {
        let server = server(self.standby)?;
        let copy = Copy { host: self.volume.host(), data: self.located(&self.source.layout.data_directory)? };
        self.is_the_source(&copy).await?;
        let tablespaces = self.tablespaces()?;
        let directories: Vec<_> = std::iter::once(copy.data.clone()).chain(tablespaces.clone()).collect();
        copy.give_to(&server.user, &directories).await?;
        copy.clean(self.source.major(), &tablespaces).await?;
        // Each of these has a place of its own in the copy.
        tokio::try_join!(self.settle_wal(&copy, server), self.tablespace_links(&copy), self.label(&copy))?;
        let kept = self.cx.board().get::<Kept>();
        kept::write(kept.as_ref().map(|kept| kept.0.as_slice()).unwrap_or_default(), &copy).await?;
        self.settings(&copy, server).await
    }

    /// Settles `pg_wal` and gives it to the server.
    async fn settle_wal(&self, copy: &Copy, server: &Server) -> Result<()> {
        let wal = self.wal(copy).await?;
        staged::put_wal(copy, &wal, self.cx).await?;
        copy.give_to(&server.user, &[wal]).await
    }

    fn located(&self, source: &str) -> Result<String> {
        let found = self.volume.locate(source);
        found.ok_or_else(|| Error::failed(format!("{source} of the primary is not in what was received")))
    }

    /// Where each tablespace of the copy is now.
    fn tablespaces(&self) -> Result<Vec<String>> {
        self.source.layout.tablespaces.iter().map(|tablespace| self.located(&tablespace.path)).collect()
    }

    /// That the copy is one of the cluster that was looked at.
    async fn is_the_source(&self, copy: &Copy) -> Result<()> {
        let (path, files) = (format!("{}/PG_VERSION", copy.data), copy.host.files());
        let (control, version) =
            tokio::try_join!(ControlFile::read(copy.host.as_ref(), &copy.data), files.read_text(&path))?;
        let version = version.unwrap_or_default();
        let major = self.source.major();
        if control.system_identifier != self.source.system_identifier || version.trim() != major.to_string() {
            let theirs = control.system_identifier;
            return Err(Error::failed(format!(
                "{} is a copy of another cluster (PostgreSQL {}, system identifier {theirs})",
                copy.data,
                version.trim()
            )));
        }
        Ok(())
    }

    fn places(&self) -> Result<Vec<Place>> {
        let places = self.cx.board().get::<Places>();
        places.map(|places| places.0.clone()).ok_or_else(|| Error::failed("nothing tells where the copy goes"))
    }

    /// Settles `pg_wal`; gives where its content is now.
    async fn wal(&self, copy: &Copy) -> Result<String> {
        let inside = format!("{}/pg_wal", copy.data);
        let apart = self.source.layout.wal_directory.as_deref();
        let located = apart.and_then(|source| Some((source, self.volume.locate(source)?)));
        let Some((source, content)) = located else {
            copy.settle_wal(&inside, None, self.backup.wal_included).await?;
            return Ok(inside);
        };
        let places = self.places()?;
        let target = target_of(&places, source).unwrap_or(source);
        let mounted_inside = target == format!("{}/pg_wal", self.standby.real_directory);
        let link = (!mounted_inside).then_some(target);
        copy.settle_wal(&content, link, self.backup.wal_included).await?;
        Ok(content)
    }

    /// The OID of each tablespace and its path on the target.
    fn mapping(&self) -> Result<Vec<(u32, String)>> {
        let places = self.places()?;
        let target = |path: &str| target_of(&places, path).unwrap_or(path).to_owned();
        let tablespaces = &self.source.layout.tablespaces;
        Ok(tablespaces.iter().map(|tablespace| (tablespace.oid, target(&tablespace.path))).collect())
    }

    async fn tablespace_links(&self, copy: &Copy) -> Result<()> {
        copy.link_tablespaces(&self.mapping()?).await
    }

    /// Puts the label and the map into the copy, or, after an atomic snapshot, nothing: then the
    /// clean-up has removed any that was there.
    async fn label(&self, copy: &Copy) -> Result<()> {
        if self.backup.mode == Mode::Atomic {
            return Ok(());
        }
        let label = self.backup.label.as_deref().filter(|label| !label.is_empty());
        let label = label.ok_or_else(|| {
            Error::failed("there is no backup label: the backup was not ended").hint("put `pg-release` in front")
        })?;
        let files = copy.host.files();
        let mapping = self.mapping()?;
        let target = |oid| mapping.iter().find(|(known, _)| *known == oid).map(|(_, path)| path.clone());
        let map = tablespaces::rewrite(self.backup.tablespace_map.as_deref().unwrap_or_default(), target)?;
        if !map.is_empty() {
            files.write(&format!("{}/tablespace_map", copy.data), map.as_bytes(), 0o600).await?;
        }
        files.write(&format!("{}/backup_label", copy.data), label.as_bytes(), 0o600).await
    }

    /// The slot that the old standby used, where this one goes on as that did: it was told of no primary.
    fn old_slot(&self) -> Option<String> {
        let as_before = staged::is_staged(self.cx.board()) && self.source.upstream.is_empty();
        let old = self.standby.old.as_ref().filter(|_| as_before && self.stage.primary_conninfo.is_none());
        old?.slot.clone()
    }

    async fn settings(&self, copy: &Copy, server: &Server) -> Result<()> {
        let upstream = settings::upstream(self.stage, self.source, self.standby.old.as_ref())?;
        let slot = self.stage.slot(self.backup, self.old_slot());
        let wanted = self.stage.wanted(&upstream, slot.as_deref());
        settings::write(copy, self.source.major(), &wanted).await?;
        let config_file = self.stage.config_file(self.standby, server);
        settings::prove(copy, server, config_file.as_deref(), self.source, &wanted).await?;
        self.cx.board().put(Configured { slot, upstream, config_file });
        Ok(())
    }
}
