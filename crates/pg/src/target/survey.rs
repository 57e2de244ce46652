//! What is at the target now.

use std::sync::Arc;

use reseed_core::host::{Command, Host};
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::conf;
use super::control_file::ControlFile;
use super::postmaster::{Postmaster, Status};
use super::programs;
use super::staged;
use super::values;
use crate::cluster::Cluster;
use crate::facts::{Source, Tablespace};
use crate::service::Server;
use crate::session::Conninfo;

/// The target as it is: left on the board by the first stage that surveys it.
#[derive(Debug, Clone)]
pub(crate) struct Standby {
    /// The cluster as it was configured.
    pub(crate) cluster: Arc<Cluster>,
    /// Its data directory as it was configured.
    pub(crate) data_directory: String,
    /// The same with links resolved, as far as it is there.
    pub(crate) real_directory: String,
    /// What is there; `None` before the first seeding.
    pub(crate) old: Option<Old>,
    /// How the server is controlled; `None` as long as nothing tells its version.
    pub(crate) server: Option<Server>,
}

/// A data directory that is there.
#[derive(Debug, Clone)]
pub(crate) struct Old {
    /// Name of its owner.
    pub(crate) owner: String,
    /// Major version of the data.
    pub(crate) major: u32,
    /// What `pg_control` says.
    pub(crate) control: ControlFile,
    /// Whether it is configured to start as a standby.
    pub(crate) signal: bool,
    /// Its server, if it runs.
    pub(crate) postmaster: Option<Postmaster>,
    /// Where `pg_wal` leads, if it is a link or a mount point of its own.
    pub(crate) wal_directory: Option<String>,
    /// Where its tablespaces are.
    pub(crate) tablespaces: Vec<Tablespace>,
    /// Its `postgresql.conf`, if that is outside the data directory.
    pub(crate) config_file: Option<String>,
    /// Name of the slot that it uses on its primary.
    pub(crate) slot: Option<String>,
    /// How it reaches its primary.
    pub(crate) upstream: Option<Conninfo>,
}

impl Old {
    /// Whether it is, or when started would be, a standby.
    pub(crate) fn is_standby(&self) -> bool {
        match self.postmaster {
            Some(_) => self.control.state.in_recovery(),
            None => self.signal || self.control.state.in_recovery(),
        }
    }
}

/// Prints `name<TAB>value` lines about the data directory `$1`.
const LAYOUT: &str = r#"real() { realpath -- "$1" 2>/dev/null || readlink -f -- "$1"; }
say() { printf '%s\t%s\n' "$1" "$2"; }
of() { stat -L -c "$2" -- "$1" 2>/dev/null || stat -L -f "$3" -- "$1"; }
if [ ! -d "$1" ]; then
  [ ! -e "$1" ] && [ ! -L "$1" ] || exit 47
  up=$(dirname -- "$1"); up=$(real "$up") && say directory "${up%/}/$(basename -- "$1")"; exit 0
fi
[ -x "$1" ] && [ -r "$1" ] || exit 43
say directory "$(real "$1")"
if [ ! -e "$1/PG_VERSION" ]; then
  [ -z "$(ls -A -- "$1" | grep -vx 'lost+found')" ] || exit 47
  exit 0
fi
say version "$(cat -- "$1/PG_VERSION")"
say owner "$(of "$1" %U %Su)"
if [ -L "$1/pg_wal" ]; then say wal "$(real "$1/pg_wal")"
elif [ "$(of "$1" %d %d)" != "$(of "$1/pg_wal" %d %d)" ]; then say wal "$(real "$1")/pg_wal"; fi
for t in "$1"/pg_tblspc/*; do
  [ ! -L "$t" ] || { say oid "${t##*/}"; say tablespace "$(real "$t")"; }
done
[ ! -e "$1/standby.signal" ] && [ ! -e "$1/recovery.conf" ] || say signal yes
[ ! -e "$1/postmaster.opts" ] || say opts "$(cat -- "$1/postmaster.opts")""#;

const NO_RIGHT: i32 = 43;
const FOREIGN: i32 = 47;

/// What the target's stages know of it: surveyed by the first of them, and again when the source has
/// become known, if that is of another version.
///
/// # Errors
/// When the machine can't be asked or nobody can tell what is there.
pub(crate) async fn standby(cluster: &Arc<Cluster>, cx: &CheckCx) -> Result<Arc<Standby>> {
    staged::learn(cx)?;
    let source = cx.board().get::<Source>().map(|source| source.major());
    let fits = |server: &Server| source.is_none_or(|source| source == server.major);
    if let Some(known) = cx.board().get::<Standby>().filter(|known| known.server.as_ref().is_some_and(fits)) {
        return Ok(known);
    }
    look(cluster, cx).await
}

/// Looks at the target before anything is known of the source, which need not be found out first. What
/// goes wrong is left for the survey to tell.
pub(crate) async fn scout(cluster: &Arc<Cluster>, cx: &CheckCx) {
    // What was seen is on the board.
    let _ = look(cluster, cx).await;
}

async fn look(cluster: &Arc<Cluster>, cx: &CheckCx) -> Result<Arc<Standby>> {
    let data_directory = cluster.data_directory.clone();
    let data_directory = data_directory.ok_or_else(|| {
        Error::refused(format!("the cluster `{}` has no data directory", cluster.name))
            .hint(format!("add `data_directory = \"/…\"` to [clusters.{}]", cluster.name))
    })?;
    let layout = layout(cluster.host.as_ref(), &data_directory).await?;
    let real_directory = layout.one("directory").unwrap_or(&data_directory).to_owned();
    let old = match layout.one("version") {
        Some(version) => Some(old(cluster, &data_directory, version, &layout).await?),
        None => None,
    };
    let server = server(cluster, &data_directory, old.as_ref(), cx).await?;
    let old = match (old, &server) {
        (Some(old), Some(server)) => Some(with_upstream(old, server).await?),
        (old, _) => old,
    };
    cx.board().put(Standby { cluster: Arc::clone(cluster), data_directory, real_directory, old, server });
    cx.board().get::<Standby>().ok_or_else(|| Error::failed("the board forgot the standby"))
}

/// That the data directory is where it was, with data of the same version, and its WAL too.
///
/// # Errors
/// What has changed.
pub(crate) async fn still_there(standby: &Standby) -> Result<()> {
    let now = layout(standby.cluster.host.as_ref(), &standby.data_directory).await?;
    let changed = |what: &str, was: &str, is: Option<&str>| {
        let text = format!("{what} of {} was {was} and is {} now", standby.data_directory, is.unwrap_or("gone"));
        Error::failed(text).hint("nothing was stopped; see who changed it, and run it again")
    };
    if now.one("directory").is_some_and(|directory| directory != standby.real_directory) {
        return Err(changed("the real path", &standby.real_directory, now.one("directory")));
    }
    let Some(old) = &standby.old else {
        return match now.one("version") {
            Some(version) => Err(changed("the data", "not there", Some(&format!("of PostgreSQL {version}")))),
            None => Ok(()),
        };
    };
    let major = old.major.to_string();
    if now.one("version").map(str::trim) != Some(&major) {
        return Err(changed("the major version", &major, now.one("version")));
    }
    match (&old.wal_directory, now.one("wal")) {
        (was, is) if was.as_deref() == is => Ok(()),
        (was, is) => Err(changed("pg_wal", was.as_deref().unwrap_or("inside"), is)),
    }
}

/// `name<TAB>value` lines.
struct Layout(Vec<(String, String)>);

impl Layout {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn tablespaces(&self) -> Vec<Tablespace> {
        let pairs = self.all("oid").zip(self.all("tablespace"));
        let pairs = pairs.filter_map(|(oid, path)| Some(Tablespace { oid: oid.parse().ok()?, path: path.to_owned() }));
        pairs.collect()
    }
}

async fn layout(host: &dyn Host, data_directory: &str) -> Result<Layout> {
    let output = host.output(Command::script(LAYOUT).arg(data_directory).as_root()).await?;
    let name = host.name();
    match output.exit.code() {
        Some(NO_RIGHT) => Err(Error::refused(format!("no right to look into {data_directory} on {name}"))
            .hint(format!("run as root, or add `become = \"sudo\"` to the host `{name}`"))),
        Some(FOREIGN) => {
            let error = format!("{data_directory} on {name} is not empty and is no data directory");
            Err(Error::refused(error).hint(format!("look at it, then: mv {data_directory} {data_directory}.old")))
        }
        _ => {
            output.exit.success_on(name)?;
            Ok(parse(&output.text()))
        }
    }
}

fn parse(text: &str) -> Layout {
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    Layout(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

async fn old(cluster: &Cluster, data_directory: &str, version: &str, layout: &Layout) -> Result<Old> {
    let host = cluster.host.as_ref();
    let major = version.trim().split('.').next().and_then(|major| major.parse().ok()).filter(|major| *major >= 10);
    let unknown = || Error::refused(format!("{data_directory} holds data of PostgreSQL {version}, not of 10 or later"));
    let (control, postmaster) =
        tokio::try_join!(ControlFile::read(host, data_directory), Postmaster::look(host, data_directory))?;
    Ok(Old {
        owner: layout.one("owner").unwrap_or("postgres").to_owned(),
        major: major.ok_or_else(unknown)?,
        control,
        signal: layout.one("signal").is_some(),
        postmaster,
        wal_directory: layout.one("wal").map(str::to_owned),
        tablespaces: layout.tablespaces(),
        config_file: layout.one("opts").and_then(config_file).filter(|file| !file.starts_with(data_directory)),
        slot: None,
        upstream: None,
    })
}

/// The file that a server was started with, from its `postmaster.opts`: each option stands in `"`.
fn config_file(opts: &str) -> Option<String> {
    let options =
        opts.rsplit('"').map(|option| option.trim_start_matches('-').replacen("config-file", "config_file", 1));
    let mut files = options.filter_map(|option| option.strip_prefix("config_file=").map(str::to_owned));
    files.next().filter(|file| file.starts_with('/'))
}

async fn server(cluster: &Cluster, data: &str, old: Option<&Old>, cx: &CheckCx) -> Result<Option<Server>> {
    let source = cx.board().get::<Source>().map(|source| source.major());
    let Some(major) = source.or(old.map(|old| old.major)) else { return Ok(None) };
    let host = Arc::clone(&cluster.host);
    let configured = cluster.bin_directory.as_deref();
    let bin = programs::find(host.as_ref(), configured, major, &cluster.service.environment).await?;
    let user = match (&cluster.user, old) {
        (Some(user), _) => user.clone(),
        (None, Some(old)) => old.owner.clone(),
        (None, None) => first_user(host.as_ref()).await?,
    };
    Ok(Some(Server {
        psql: programs::psql(host.as_ref(), &bin).await?,
        host,
        service: cluster.service.clone(),
        data_directory: data.to_owned(),
        user,
        bin,
        major,
    }))
}

/// Who is to run a server that is not there yet: `postgres`, where commands can run as root and so as
/// anyone, else the only user there is.
async fn first_user(host: &dyn Host) -> Result<String> {
    let user = host.run(Command::new("id").arg("-un").as_root()).await?;
    Ok(match user.trim() {
        "root" => "postgres".to_owned(),
        user => user.to_owned(),
    })
}

/// Adds how the old standby reaches its primary, from its configuration.
async fn with_upstream(mut old: Old, server: &Server) -> Result<Old> {
    let (slot, upstream) = if old.major < 12 {
        let path = format!("{}/recovery.conf", server.data_directory);
        let text = server.host.files().read_text(&path).await?.unwrap_or_default();
        (conf::value_of(&text, "primary_slot_name"), conf::value_of(&text, "primary_conninfo"))
    } else {
        let names = ["primary_slot_name", "primary_conninfo"].map(str::to_owned);
        let config_file = old.config_file.clone().or_else(|| server.debian_config());
        // A configuration that can't be read is for later checks to judge: it may be replaced.
        let values = values::read(server, &server.data_directory, config_file.as_deref(), &names).await;
        let mut values = values.unwrap_or_default().into_iter().map(|(_, value)| value);
        (values.next(), values.next())
    };
    old.slot = slot.filter(|slot| !slot.is_empty());
    old.upstream = upstream.filter(|upstream| !upstream.is_empty()).and_then(|text| Conninfo::parse(&text).ok());
    Ok(old)
}

/// Whether the standby's server can be asked, where it serves: without that nothing could be proven.
///
/// # Errors
/// A refusal with what the server said.
pub(crate) async fn answers(standby: &Standby) -> Result<()> {
    let postmaster = standby.old.as_ref().and_then(|old| old.postmaster.as_ref());
    let (Some(server), Some(at)) = (&standby.server, postmaster) else { return Ok(()) };
    if at.status != Status::Ready {
        return Ok(());
    }
    let answer: Result<bool> = server.ask_one(at, "SELECT to_json(pg_is_in_recovery())").await;
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::refused(format!("the server in {} is a primary", standby.data_directory))),
        Err(error) => Err(error.into_refusal().hint(format!(
            "let the user `{}` in without a password: add `local all {0} peer` to pg_hba.conf, or \
             `environment = {{ PGUSER = \"…\" }}` to the service",
            server.user
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_read_line_by_line() {
        let text = "directory\t/data/my pg\nversion\t15\nowner\tpostgres\nwal\t/wal/15\noid\t16384\n\
                    tablespace\t/ts/a\noid\t16385\ntablespace\t/ts/b\nsignal\tyes\n";
        let layout = parse(text);
        assert_eq!(layout.one("directory"), Some("/data/my pg"));
        assert_eq!(layout.tablespaces()[1], Tablespace { oid: 16385, path: "/ts/b".into() });
        assert_eq!(layout.one("opts"), None);
    }

    #[test]
    fn debian_tells_where_its_configuration_is() {
        let opts = r#"/usr/lib/postgresql/15/bin/postgres "-D" "/var/lib/postgresql/15/main" "-c" "config_file=/etc/postgresql/15/main/postgresql.conf""#;
        assert_eq!(config_file(opts).as_deref(), Some("/etc/postgresql/15/main/postgresql.conf"));
        let long = r#"/usr/bin/postgres "--config-file=/etc/pg.conf""#;
        assert_eq!(config_file(long).as_deref(), Some("/etc/pg.conf"));
        assert_eq!(config_file(r#"/usr/bin/postgres "-D" "/data""#), None);
    }
}
