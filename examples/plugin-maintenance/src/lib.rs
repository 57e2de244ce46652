//! The stage `maintenance-flag`: a file that tells load balancers and monitoring that a standby is
//! being replaced.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::{BuildCx, Located, Problem, Ref};
use reseed_core::host::{Command, Host};
use reseed_core::item::Item;
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Stage, StageCx};
use reseed_core::undo::by_name;
use reseed_core::undo::{Chore, Undo};
use reseed_core::{Error, Kind, Mismatch, Result, register_stage};
use reseed_core::{register_chore, register_undo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes a file while the rest of the run lasts, which tells load balancers and monitoring to leave
/// the standby alone. It is gone when the run has ended, whatever its end is. A file that is there
/// already is somebody else's maintenance, and the run is refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlagConfig {
    /// The machine, from `[hosts]`. By default this one.
    #[serde(default)]
    on: Option<Ref>,
    /// The file, by its full path.
    path: Located<String>,
}

register_stage!(FlagConfig);

impl StageConfig for FlagConfig {
    const NAME: &'static str = "maintenance-flag";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        if !self.path.starts_with('/') {
            cx.problem(Problem::at(self.path.span(), "a path on a machine begins with `/`"));
            return None;
        }
        Some(Arc::new(Flag::new(cx.host(self.on.as_ref())?, self.path.into_inner())))
    }
}

/// A flag file on a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flag {
    #[serde(with = "by_name")]
    host: Arc<dyn Host>,
    path: String,
    /// The run whose it is, once there is one.
    run: String,
}

impl Flag {
    /// The file of this path.
    pub fn new(host: Arc<dyn Host>, path: impl Into<String>) -> Self {
        Self { host, path: path.into(), run: String::new() }
    }

    /// The same flag as that of this run.
    pub fn of_run(&self, run: &str) -> Self {
        Self { run: run.to_owned(), ..self.clone() }
    }

    /// Makes the file, unless there is one.
    ///
    /// # Errors
    /// When there is one, or the machine can't be reached.
    pub async fn raise(&self) -> Result<()> {
        let script = Command::script(r#"set -C; echo "$2" >"$1""#).titled("raise-flag");
        self.host.run(script.arg(&self.path).arg(&self.run)).await.map(drop)
    }

    /// Removes the file if it is this run's.
    async fn lower(&self) -> Result<()> {
        let script = r#"[ "$(cat -- "$1" 2>/dev/null)" != "$2" ] || rm -f -- "$1""#;
        self.host.run(Command::script(script).titled("lower-flag").arg(&self.path).arg(&self.run)).await.map(drop)
    }
}

#[async_trait]
impl Stage for Flag {
    fn name(&self) -> &str {
        FlagConfig::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        let there = self.host.output(Command::new("test").args(["-e", &self.path])).await?;
        match there.exit.code() {
            Some(1) => Ok(()),
            _ => Err(Error::refused(format!("{} is there already on {}", self.path, self.host.name()))
                .hint(format!("see whose maintenance it is: cat {}", self.path))),
        }
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let flag = self.of_run(cx.run_id());
        cx.arm(flag.clone())?;
        cx.after_commit(flag.clone())?;
        flag.raise().await.map(|()| input)
    }
}

register_undo!("maintenance-flag", Flag);

#[async_trait]
impl Undo for Flag {
    fn describe(&self) -> String {
        format!("remove {} on {}", self.path, self.host.name())
    }

    fn by_hand(&self) -> String {
        Command::new("rm").args(["-f", "--", &self.path]).to_string()
    }

    async fn undo(&self) -> Result<()> {
        self.lower().await
    }
}

register_chore!("maintenance-flag", Flag);

#[async_trait]
impl Chore for Flag {
    fn describe(&self) -> String {
        Undo::describe(self)
    }

    async fn perform(&self) -> Result<Option<String>> {
        self.lower().await.map(|()| Some(format!("removed {}", self.path)))
    }
}
