//! What a stage that receives base backups needs of PostgreSQL's programs and of the source.

use std::sync::Arc;

use reseed_core::host::{Command, Host};
use reseed_core::item::Facts;
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};

use super::manifest::Manifest;
use super::survey::Taking;
use super::tools;
use crate::cluster::{Cluster, Primary};
use crate::facts::{Backup, Source};
use crate::lsn::Lsn;
use crate::service::Server;
use crate::session::Session;
use crate::source::vitals::Vitals;
use crate::source::{backup, slot};
use crate::target::survey::standby;

/// The machine that receives, with the programs and the user of its server.
#[derive(Debug, Clone)]
pub struct Receiver {
    server: Server,
    live: String,
    serves: bool,
    major: u32,
}

impl Receiver {
    /// That of a cluster, once its source is known.
    ///
    /// # Errors
    /// When the machine can't be asked.
    pub async fn of(cluster: &Arc<Cluster>, cx: &CheckCx) -> Result<Self> {
        let standby = standby(cluster, cx).await?;
        let server = standby.server.clone();
        let source = cx.board().get::<Source>();
        let (Some(server), Some(source)) = (server, source) else {
            return Err(Error::refused("nothing tells about the source").hint("put `pg-basebackup` in front"));
        };
        let (live, serves) = (standby.real_directory.clone(), standby.old.is_some());
        Ok(Self { server, live, serves, major: source.major() })
    }

    /// The machine.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.server.host
    }

    /// Name of the user that runs the server, who owns what is received.
    pub fn user(&self) -> &str {
        &self.server.user
    }

    /// The standby's data directory, links resolved.
    pub fn live(&self) -> &str {
        &self.live
    }

    /// Whether a data directory is there.
    pub fn is_seeded(&self) -> bool {
        self.serves
    }

    /// Whether backups of this version carry a manifest by which they can be verified.
    pub fn has_manifests(&self) -> bool {
        self.major >= 13
    }

    /// That the program that verifies backups is there.
    ///
    /// # Errors
    /// A refusal when it is not.
    pub async fn can_verify(&self) -> Result<()> {
        let found = tools::find(&self.server, "pg_verifybackup", self.major).await.map(drop);
        found.map_err(|error| {
            let hint = format!("{}, or add `verify = false` to the stage", error.hint_text().unwrap_or_default());
            error.hint(hint)
        })
    }

    /// That the program that puts increments together is there: that of the source's own version.
    ///
    /// # Errors
    /// A refusal when it is not.
    pub async fn can_combine(&self) -> Result<()> {
        self.combiner().await.map(drop)
    }

    async fn combiner(&self) -> Result<tools::Tool> {
        let tool = tools::find(&self.server, "pg_combinebackup", self.major).await?;
        if tool.major == self.major {
            return Ok(tool);
        }
        let (path, is, wanted) = (&tool.path, tool.major, self.major);
        Err(Error::refused(format!("{path} on {} is of PostgreSQL {is}, not of {wanted}", self.host().name()))
            .hint("install it, or set `incremental = \"never\"` in the stage pg-basebackup"))
    }

    fn call(&self, path: &str) -> Command {
        // Programs find their siblings beside themselves; the server's environment finds the libraries.
        self.server.script(r#"exec "$@""#).arg(path)
    }

    /// What the manifest of the backup in a directory says; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that can't be read.
    pub async fn manifest(&self, directory: &str) -> Result<Option<Manifest>> {
        Manifest::read(self.host().as_ref(), directory).await
    }

    /// Verifies a backup against its manifest: every file, its size and checksum, and that the WAL
    /// which it needs can be read.
    ///
    /// # Errors
    /// When it is not what the manifest says.
    pub async fn verify(&self, directory: &str) -> Result<()> {
        let tool = tools::find(&self.server, "pg_verifybackup", self.major).await?;
        // WAL is read only by a program of its own version.
        let wal = (tool.major != self.major).then_some("-n");
        let verify = self.call(&tool.path).args(["-q"]).args(wal).arg(directory).titled("run");
        let verified = self.host().run(verify).await;
        verified.map(drop).map_err(|error| error.context(format!("{directory} is not what its manifest says")))
    }

    /// Puts a whole backup and its increments, in their order, together to a new whole one, synced.
    ///
    /// # Errors
    /// When they don't belong together, or there is no room.
    pub async fn combine(&self, chain: &[String], into: &str) -> Result<()> {
        let tool = self.combiner().await?;
        let combine = self.call(&tool.path).args(["-o", into]).args(chain.iter().cloned());
        let combined = self.host().run(combine.titled("run")).await;
        combined.map(drop).map_err(|error| error.context(format!("putting {} backups together", chain.len())))
    }

    /// Completes what is known of the backup by what came with it: label, map, and the position past
    /// which a standby counts as good.
    ///
    /// # Errors
    /// When the backup in the directory is not a whole one, or the source has changed meanwhile.
    pub async fn complete(&self, facts: &mut Facts, directory: &str, cx: &CheckCx) -> Result<()> {
        let known = facts.get::<Backup>()?;
        let mut known = known.ok_or_else(|| Error::failed("nothing tells how the backup was taken"))?;
        let files = self.host().files();
        let label = files.read_text(&format!("{directory}/backup_label")).await?.unwrap_or_default();
        backup::start_location(&label)?;
        if label.contains("INCREMENTAL FROM") {
            return Err(Error::failed(format!("{directory} holds an increment and no whole backup")));
        }
        let map = files.read_text(&format!("{directory}/tablespace_map")).await?;
        known.label = Some(label);
        known.tablespace_map = map.filter(|map| !map.is_empty());
        let end = self.manifest(directory).await?.map(|manifest| manifest.end);
        known.proof_lsn = Some(unchanged(&known, end, self.major, cx).await?);
        if let Some(lsn) = &known.proof_lsn {
            cx.note(format!("the standby counts as good once it has replayed past {lsn}"));
        }
        facts.put(&known)
    }
}

/// Asks the source once more, now that all has come; gives where the backup ended, at the latest.
async fn unchanged(known: &Backup, end: Option<Lsn>, major: u32, cx: &CheckCx) -> Result<String> {
    let primary = cx.board().get::<Primary>().ok_or_else(|| Error::failed("nothing tells how to ask the source"))?;
    let before = cx.board().get::<Taking>().ok_or_else(|| Error::failed("nothing tells what the source was"))?;
    let session = Session::connect(&primary.0, "reseed backup").await?;
    let asked = async {
        Vitals::read(&session).await?.unchanged_since(before.server.vitals)?;
        if let Some(slot) = &known.slot {
            slot::restart_lsn(&session, slot, major).await?;
        }
        match end {
            Some(end) => Ok(end.to_string()),
            None => backup::reached(&session, before.server.vitals.in_recovery).await,
        }
    };
    let asked = asked.await;
    session.close().await;
    asked
}
