//! A stage that does what the test says, as a stranger's crate would bring it.

use std::sync::Arc;

use async_trait::async_trait;
use reseed_core::config::BuildCx;
use reseed_core::host::{Command, Host, LocalConfig, LocalHost};
use reseed_core::item::{Item, Payload};
use reseed_core::leftover::{Leftover, Leftovers, Stays};
use reseed_core::registry::StageConfig;
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::undo::Undo;
use reseed_core::{Error, Kind, Mismatch, Result, register_stage, register_undo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Acts as it is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ActConfig {
    /// What it does.
    act: Act,
    /// The directory that it changes, and locks.
    target: Option<String>,
}

/// The stage.
#[derive(Debug)]
struct Acting {
    act: Act,
    target: Option<String>,
    host: Arc<dyn Host>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Work,
    WorkForGood,
    UndoWaits,
    Refuse,
    SlowCheck,
    Fail,
    Panic,
    Wait,
    /// Waits for a program that never ends.
    Child,
}

register_stage!(ActConfig);

impl StageConfig for ActConfig {
    const NAME: &'static str = "test-act";

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let host = Arc::new(LocalHost::new("local", &LocalConfig::default()));
        Some(Arc::new(Acting { act: self.act, target: self.target, host }))
    }
}

impl Act {
    fn text(self) -> &'static str {
        match self {
            Act::Work => "work",
            Act::WorkForGood => "work-for-good",
            Act::UndoWaits => "undo-waits",
            Act::Refuse => "refuse",
            Act::SlowCheck => "slow-check",
            Act::Fail => "fail",
            Act::Panic => "panic",
            Act::Wait => "wait",
            Act::Child => "child",
        }
    }
}

#[async_trait]
impl Stage for Acting {
    fn name(&self) -> &str {
        ActConfig::NAME
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    fn locks(&self) -> Vec<Claim> {
        let claim = |name: &String| Claim { what: "directory", host: "local".to_owned(), name: name.clone() };
        self.target.iter().map(claim).collect()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.target.as_ref().map(|_| Arc::clone(&self.host))
    }

    async fn survey(&self, _cx: &CheckCx) -> Result<()> {
        if let Act::SlowCheck = self.act {
            eprintln!("surveying now");
        }
        Ok(())
    }

    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        match self.act {
            Act::Refuse => Err(Error::refused("will not").hint("ask `nicely`")),
            Act::SlowCheck => std::future::pending().await,
            _ => Ok(()),
        }
    }

    /// Each stage has something of the run that the environment names.
    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        let Ok(run) = std::env::var("RESEED_TEST_LEFT") else { return Ok(Leftovers::default()) };
        let (place, name) = ("here".to_owned(), self.act.text().to_owned());
        let undo = Arc::new(TakeBack(self.act));
        Ok(Leftovers {
            found: vec![Leftover { what: "act", place, name, run, stays: Stays::No, undo }],
            in_use: vec![],
        })
    }

    async fn run(&self, _input: Item, cx: &StageCx) -> Result<Item> {
        cx.arm(TakeBack(self.act))?;
        match self.act {
            Act::Fail => Err(Error::failed("no luck").because("a cause").hint("try `again`")),
            Act::Panic => panic!("a test panics"),
            Act::Wait => {
                cx.note("waiting now");
                cx.cancelled().await;
                Err(Error::cancelled())
            }
            Act::Child => {
                let sleep = self.host.run(Command::new("sleep").arg("1000"));
                cx.note("waiting now");
                sleep.await.map(|_| Item::start().with(Payload::Standby))
            }
            _ => Ok(Item::start().with(Payload::Standby)),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct TakeBack(Act);

register_undo!("test-act", TakeBack);

#[async_trait]
impl Undo for TakeBack {
    fn describe(&self) -> String {
        format!("take back {}", self.0.text())
    }

    fn by_hand(&self) -> String {
        format!("rm {}", self.0.text())
    }

    async fn undo(&self) -> Result<()> {
        if let Some(file) = std::env::var_os("RESEED_TEST_UNDONE") {
            std::fs::write(file, self.0.text())?;
        }
        match self.0 {
            Act::WorkForGood => Err(Error::failed("it is for good")),
            Act::UndoWaits => std::future::pending().await,
            _ => Ok(()),
        }
    }
}
