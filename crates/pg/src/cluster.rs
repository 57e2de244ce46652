//! The resource `clusters`: a PostgreSQL server and the machine that it is on.

use std::sync::Arc;

use reseed_core::config::{BuildCx, Located, Problem, Ref, Secret, SecretSource};
use reseed_core::host::Host;
use reseed_core::register_resource;
use reseed_core::registry::ResourceConfig;
use reseed_core::stage::Claim;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::service::{Service, ServiceConfig};

/// A PostgreSQL cluster: the data directory of one server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClusterConfig {
    /// The host that it is on; the local machine by default.
    host: Option<Ref>,
    /// Of a primary: libpq connection string by which reseed reaches it, and by which its standby will:
    /// `host=… user=… dbname=…`. `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslcrl` and
    /// `sslnegotiation` mean what they mean to libpq; the files must be there on both machines. Without
    /// a conninfo the primary must be on the local machine and is reached as `psql` would reach it, and
    /// the stage `pg-configure` needs a `primary_conninfo`. A standby needs none: it is asked by `psql`
    /// on its own host.
    conninfo: Option<Located<String>>,
    /// Password for `conninfo`.
    password: Option<Located<SecretSource>>,
    /// The data directory. A primary tells its own.
    data_directory: Option<Located<String>>,
    /// Directory of the server's programs (`pg_ctl`, `postgres`); found by itself where it is usual.
    bin_directory: Option<String>,
    /// The operating system's user that runs the server; the owner of the data directory by default.
    user: Option<String>,
    /// How the server is started and stopped.
    service: Option<ServiceConfig>,
}

/// A PostgreSQL cluster as stages know it.
#[derive(Debug)]
pub struct Cluster {
    /// Its name in the pipeline file.
    pub name: String,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// libpq connection string, without a password.
    pub conninfo: Option<String>,
    /// Password for `conninfo`.
    pub password: Option<Secret>,
    /// The data directory as it was configured.
    pub data_directory: Option<String>,
    /// Directory of the programs as it was configured.
    pub bin_directory: Option<String>,
    /// The user that runs the server, as it was configured.
    pub user: Option<String>,
    /// How it is started and stopped.
    pub service: Service,
}

impl Cluster {
    /// What nobody else may work on while a run changes its data.
    pub(crate) fn locks(&self) -> Vec<Claim> {
        let claim =
            |name: &String| Claim { what: "data directory", host: self.host.name().to_owned(), name: name.clone() };
        self.data_directory.iter().map(claim).collect()
    }
}

/// In an undo or a chore, a cluster is its name: `#[serde(with = "crate::cluster::by_name")]`.
pub(crate) mod by_name {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Cluster, ClusterConfig};
    use reseed_core::registry::ResourceConfig;
    use reseed_core::undo::by_name::resource;

    /// Writes the name.
    pub(crate) fn serialize<S: Serializer>(cluster: &Arc<Cluster>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&cluster.name)
    }

    /// Finds the cluster of a name.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Cluster>, D::Error> {
        resource(ClusterConfig::TABLE, &String::deserialize(deserializer)?)
    }
}

/// The cluster that is copied: put on the board by the stage that surveys the primary, for those of
/// the standby that must ask it.
#[derive(Debug, Clone)]
pub struct Primary(pub Arc<Cluster>);

impl ResourceConfig for ClusterConfig {
    const TABLE: &'static str = "clusters";
    const USE: Option<&'static str> = None;
    type Resource = Cluster;

    fn build(self, name: &str, cx: &mut BuildCx<'_>) -> Option<Cluster> {
        let password = match &self.password {
            Some(source) => Some(Secret::read(source, cx)?),
            None => None,
        };
        if let Some(directory) = self.data_directory.as_ref().filter(|directory| !directory.starts_with('/')) {
            cx.problem(Problem::at(directory.span(), "a data directory is an absolute path"));
            return None;
        }
        if let Some(text) = &self.conninfo
            && let Err(error) = crate::session::understood(text)
        {
            let problem = Problem::at(text.span(), error.chain());
            cx.problem(match error.hint_text() {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            return None;
        }
        let service = self.service.unwrap_or_default().build(cx)?;
        Some(Cluster {
            name: name.to_owned(),
            host: cx.host(self.host.as_ref())?,
            conninfo: self.conninfo.map(Located::into_inner),
            password,
            data_directory: self.data_directory.map(|path| path.trim_end_matches('/').to_owned()),
            bin_directory: self.bin_directory,
            user: self.user,
            service,
        })
    }
}

register_resource!(ClusterConfig);
