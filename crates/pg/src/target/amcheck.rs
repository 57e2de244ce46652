//! The stage `pg-amcheck`.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Ref};
use reseed_core::host::{Command, Host};
use reseed_core::item::Item;
use reseed_core::register_stage;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Stage, StageCx};
use reseed_core::{Error, Kind, Mismatch, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::ask::address;
use super::configure::server;
use super::survey::standby;
use crate::cluster::Cluster;
use crate::service::Server;

/// Has `pg_amcheck` read every table and every B-tree index of the standby, in each database that has the
/// extension `amcheck` (`CREATE EXTENSION amcheck` on the primary). It changes nothing. What it finds fails
/// the run. It needs PostgreSQL 14.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AmcheckConfig {
    /// The standby, from `[clusters]`.
    cluster: Ref,
    /// Connections at once, from 1 to 64. Default: 2.
    #[serde(default = "two")]
    jobs: u8,
}

fn two() -> u8 {
    2
}

register_stage!(AmcheckConfig);

impl StageConfig for AmcheckConfig {
    const NAME: &'static str = "pg-amcheck";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let cluster = cx.resource::<Cluster>("clusters", &self.cluster)?;
        Some(Arc::new(Amcheck { cluster, jobs: self.jobs.clamp(1, 64) }))
    }
}

#[derive(Debug)]
struct Amcheck {
    cluster: Arc<Cluster>,
    jobs: u8,
}

#[async_trait]
impl Stage for Amcheck {
    fn name(&self) -> &str {
        AmcheckConfig::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        match input {
            Kind::Standby => Ok(Kind::Standby),
            other => {
                Err(Mismatch::new("a standby", other, Kind::Standby).hint("put it behind the stage that starts it"))
            }
        }
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.cluster.host))
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let standby = standby(&self.cluster, cx).await?;
        let server = server(&standby)?;
        if server.major < 14 {
            let error = Error::refused(format!("PostgreSQL {} has no pg_amcheck", server.major));
            return Err(error.hint("leave the stage `pg-amcheck` out"));
        }
        let version = server.program("pg_amcheck").args(["--version"]);
        match server.host.output(version).await?.exit.success() {
            true => Ok(()),
            false => Err(Error::refused(format!("there is no {}/pg_amcheck on {}", server.bin, server.host.name()))
                .hint("install it with PostgreSQL's client programs, or leave the stage `pg-amcheck` out")),
        }
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let standby = standby(&self.cluster, cx).await?;
        let server = server(&standby)?;
        let output = server.host.output(self.command(server).await?).await?;
        let said = format!("{}{}", output.text(), output.exit.stderr());
        cx.note(judge(output.exit.success(), &said).map_err(Error::failed)?);
        Ok(input)
    }
}

impl Amcheck {
    async fn command(&self, server: &Server) -> Result<Command> {
        let up = server.look().await?;
        let up = up.ok_or_else(|| Error::failed(format!("no server runs in {}", server.data_directory)))?;
        let program = server.program("pg_amcheck").args(["--all", "--no-password", &format!("--jobs={}", self.jobs)]);
        Ok(program.arg(format!("--maintenance-db={}", address(&up))))
    }
}

/// What pg_amcheck found, in words.
fn judge(success: bool, said: &str) -> Result<String, String> {
    let skipped: Vec<_> = said.lines().filter_map(skipped).collect();
    let without = match skipped.as_slice() {
        [] => String::new(),
        names => format!("; not looked into, for want of the extension amcheck: {}", names.join(", ")),
    };
    let nothing = said.contains("no relations to check");
    match (success, nothing) {
        (true, _) => Ok(format!("pg_amcheck found nothing wrong{without}")),
        (false, true) => Ok(format!("pg_amcheck looked into nothing{without}")),
        (false, false) => {
            let told: Vec<_> = said.lines().filter(|line| skipped_not(line)).take(10).collect();
            Err(format!("pg_amcheck: {}", told.join("\n")))
        }
    }
}

fn skipped_not(line: &str) -> bool {
    skipped(line).is_none()
}

/// The database that a line says is skipped.
fn skipped(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("skipping database \"")?;
    rest.split_once('"').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_amcheck_says_is_told() {
        let skipped = "pg_amcheck: warning: skipping database \"postgres\": amcheck is not installed\n";
        assert_eq!(judge(true, "").unwrap(), "pg_amcheck found nothing wrong");
        assert!(judge(true, skipped).unwrap().ends_with("for want of the extension amcheck: postgres"));
        let nothing = format!("{skipped}pg_amcheck: error: no relations to check\n");
        assert!(judge(false, &nothing).unwrap().starts_with("pg_amcheck looked into nothing"));
        let broken = format!("{skipped}btree index \"a.public.i\":\n    ERROR:  item order invariant violated\n");
        let told = judge(false, &broken).unwrap_err();
        assert!(told.contains("item order") && !told.contains("skipping"), "{told}");
    }
}
