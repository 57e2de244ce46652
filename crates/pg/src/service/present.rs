//! Whether what starts and stops a server is there.

use reseed_core::host::Command;
use reseed_core::{Error, Result};

use super::{Control, Server};

/// Says whether a unit is there and starts anything.
const UNIT: &str = r#"command -v systemctl >/dev/null || exit 44
said=$(systemctl show -p LoadState -p ExecStart -- "$1")
case $said in *LoadState=not-found*) exit 44;; *path=/bin/true*) exit 45;; esac"#;
const ABSENT: i32 = 44;
const STARTS_NOTHING: i32 = 45;

impl Server {
    /// That what starts and stops the server is there.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) async fn can_be_controlled(&self) -> Result<()> {
        match &self.service.control {
            Control::PgCtl { .. } => self.has_a_name_for_pg_ctl(),
            Control::PgCtlCluster { name, .. } => self.has_debian_cluster(name).await,
            Control::Systemd { unit } => self.has_unit(unit).await,
            Control::FreeBsd { .. } => self.has_program("service").await,
            Control::Command { start, stop } => {
                for program in [start, stop].into_iter().filter_map(|argv| argv.first()) {
                    self.has_program(program).await?;
                }
                Ok(())
            }
        }
    }

    /// `pg_ctl` puts the name between `"` into a shell's line.
    fn has_a_name_for_pg_ctl(&self) -> Result<()> {
        match self.data_directory.contains(['"', '$', '`', '\\']) {
            false => Ok(()),
            true => Err(Error::refused(format!("pg_ctl can't handle the name of {}", self.data_directory))
                .hint("it has one of \" $ ` \\ in it; use another `service`")),
        }
    }

    async fn has_debian_cluster(&self, name: &str) -> Result<()> {
        self.has_program("pg_ctlcluster").await?;
        let config = self.debian_config().unwrap_or_default();
        if self.host.files().exists(&config).await? {
            return Ok(());
        }
        let error = format!("there is no cluster `{name}` of Debian's on {}: no {config}", self.host.name());
        Err(Error::refused(error).hint(format!("pg_createcluster {} {name}", self.major)))
    }

    async fn has_unit(&self, unit: &str) -> Result<()> {
        let (output, on) = (self.host.output(Command::script(UNIT).arg(unit).as_root()).await?, self.host.name());
        match output.exit.code() {
            Some(ABSENT) => {
                Err(Error::refused(format!("there is no unit `{unit}` on {on}"))
                    .hint("systemctl list-units 'postgresql*'"))
            }
            Some(STARTS_NOTHING) => Err(Error::refused(format!("the unit `{unit}` on {on} starts nothing"))
                .hint(format!("name the instance: `unit = \"postgresql@{}-main\"`", self.major))),
            _ => Ok(()),
        }
    }

    async fn has_program(&self, program: &str) -> Result<()> {
        match self.host.which(program).await? {
            Some(_) => Ok(()),
            None => Err(Error::refused(format!("there is no program `{program}` on {}", self.host.name()))
                .hint(format!("correct `service` of the cluster whose data is in {}", self.data_directory))),
        }
    }
}
