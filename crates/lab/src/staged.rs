//! Pipeline files for a [`Pair`] with a repository in between.

use std::fmt::Write;
use std::path::Path;

use crate::process::{make_directory, set_mode, write};
use crate::recipe::place;
use crate::{Lab, Pair, Pool, Result, Seaweed, Server, Switch};

/// A throw-away repository: the table that pipeline files have for it, and the server behind it where it
/// is a bucket. The server ends with this.
#[derive(Debug)]
pub struct Repository {
    /// The table `repositories.offsite`.
    pub table: String,
    server: Option<Seaweed>,
}

impl Repository {
    /// One in a directory of the lab.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn in_directory(lab: &Lab) -> Result<Self> {
        let directory = lab.directory().join("repository");
        make_directory(&directory)?;
        set_mode(&directory, 0o700)?;
        Ok(Self { table: repository_in_directory(&directory), server: None })
    }

    /// One in a bucket of an S3 server of its own.
    ///
    /// # Errors
    /// When the server can't be started, or the bucket not be made.
    pub fn in_bucket(lab: &Lab) -> Result<Self> {
        let server = Seaweed::in_lab(lab)?;
        server.bucket(BUCKET)?;
        let table = repository_in_bucket(&server, BUCKET, lab.directory())?;
        Ok(Self { table, server: Some(server) })
    }

    /// Leaves the server running, also after the end of this process.
    pub fn keep(self) {
        if let Some(server) = self.server {
            server.keep();
        }
    }
}

/// The bucket of a [`Repository`].
const BUCKET: &str = "offsite";

/// Where a copy from a repository becomes a standby.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// What it lies on.
    pub pool: &'a Pool,
    /// The server that it becomes.
    pub standby: &'a Server,
    /// How it takes its place.
    pub switch: Switch,
    /// Whether it must stream from the pair's primary; otherwise nothing is said of a primary.
    pub follows: bool,
}

/// The table of a repository in a directory.
pub fn repository_in_directory(directory: &Path) -> String {
    format!("[repositories.offsite]\nurl = \"file://{}\"\n\n", directory.display())
}

/// The table of a repository in a bucket of a lab's server; its keys lie in files of `directory`.
///
/// # Errors
/// When those can't be written.
pub fn repository_in_bucket(server: &Seaweed, bucket: &str, directory: &Path) -> Result<String> {
    let (id, secret) = (directory.join("s3-id"), directory.join("s3-secret"));
    write(&id, &server.access_key_id, 0o600)?;
    write(&secret, &server.secret_access_key, 0o600)?;
    Ok(format!(
        "[repositories.offsite]\nurl = \"s3://{bucket}/pg\"\nendpoint = \"{}\"\n\
         access_key_id = {{ file = \"{}\" }}\nsecret_access_key = {{ file = \"{}\" }}\n\n",
        server.endpoint(),
        id.display(),
        secret.display()
    ))
}

impl Pair {
    fn primary_table(&self) -> String {
        format!("[clusters.primary]\nconninfo = \"{}\"\n\n", self.primary.conninfo())
    }

    /// The pipeline file that puts the primary's state into a repository, of which `repository` is the
    /// table. `None` where the storage sends no snapshots.
    pub fn put_pipeline(&self, repository: &str) -> Option<String> {
        let (snapshot, send) = self.sending()?;
        Some(format!(
            "name = \"put-offsite\"\n\n{repository}{}[[stage]]\nuse = \"pg-quiesce\"\ncluster = \"primary\"\n\n\
             [[stage]]\nuse = \"{snapshot}\"\n\n[[stage]]\nuse = \"pg-release\"\n\n[[stage]]\nuse = \"{send}\"\n\n\
             [[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\n",
            self.primary_table()
        ))
    }

    /// The pipeline file that makes a standby of what is in a repository.
    pub fn get_pipeline(&self, repository: &str, aim: Aim<'_>) -> String {
        let cluster = "cluster = \"standby\"\n";
        let (primary, proof) = match aim.follows {
            true => ("primary = \"primary\"\n", ""),
            false => ("", "proof = \"consistent\"\n"),
        };
        let table = if aim.follows { self.primary_table() } else { String::new() };
        let mut text =
            format!("name = \"seed-from-offsite\"\n\n{repository}{table}[clusters.standby]\n{}\n", place(aim.standby));
        let configure = format!(
            "{cluster}{primary}settings = {{ port = {}, unix_socket_directories = \"{}\" }}\n{}",
            aim.standby.port,
            aim.standby.sockets,
            self.places(aim.pool)
        );
        let get = format!("repository = \"offsite\"\nstorage = \"{}\"\n", self.storage.name().to_lowercase());
        let mut stages = vec![("s3-get", get)];
        stages.extend(self.receiving(aim.pool, aim.switch, ""));
        stages.push(("pg-configure", configure));
        let end = format!("{cluster}{proof}");
        match aim.switch {
            Switch::Clone => stages.push(("pg-switch", end)),
            Switch::InPlace => {
                stages.insert(0, ("pg-stop", cluster.to_owned()));
                stages.push(("pg-start", end));
            }
        }
        for (stage, lines) in stages {
            let _ = write!(text, "[[stage]]\nuse = \"{stage}\"\n{lines}\n");
        }
        text
    }
}
