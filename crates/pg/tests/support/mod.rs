//! A storage of plain directories, so that the stages of the standby can be tried without any file
//! system of their own: a snapshot is a `cp` inside backup mode, a switch is a `mv`.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod certificates;
pub mod pair;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reseed_core::config::{BuildCx, load};
use reseed_core::engine::Engine;
use reseed_core::event::{Event, Observer};
use reseed_core::host::{Command, Host, LocalConfig, LocalHost};
use reseed_core::item::{Coverage, Item, Payload, Piece, Placement, SnapshotSet, Volume, Wanted};
use reseed_core::register_stage;
use reseed_core::register_undo;
use reseed_core::registry::StageConfig;
use reseed_core::report::RunReport;
use reseed_core::stage::{CheckCx, Stage, StageCx};
use reseed_core::undo::Undo;
use reseed_core::{Error, Format, Kind, Mismatch, Result};
use serde::{Deserialize, Serialize};

const DIRECTORIES: Format = Format::new("directories");

/// Copies what is wanted to directories of their own.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct CopyConfig {
    into: String,
}

/// Gives the copies as a volume; with `over`, moves them to where the standby is at once.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct TakeConfig {
    #[serde(default)]
    over: bool,
}

/// Fails at the very end.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct FailConfig {}

/// Does on purpose what nobody should: runs a script whose first argument is the copy of the data directory.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct MeddleConfig {
    script: String,
}

register_stage!(CopyConfig);
register_stage!(TakeConfig);
register_stage!(FailConfig);
register_stage!(MeddleConfig);

macro_rules! stage_of_itself {
    ($config:ty, $name:literal) => {
        impl StageConfig for $config {
            const NAME: &'static str = $name;
            fn build(self, _: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
                Some(Arc::new(self))
            }
        }
    };
}

stage_of_itself!(CopyConfig, "directory-copy");
stage_of_itself!(TakeConfig, "directory-take");
stage_of_itself!(FailConfig, "fail");
stage_of_itself!(MeddleConfig, "meddle");

fn host() -> Arc<dyn Host> {
    Arc::new(LocalHost::new("local", &LocalConfig::default()))
}

/// Where each directory of the source is in the copy.
#[derive(Debug, Clone)]
struct Copies(Vec<(String, String)>);

#[async_trait]
impl Stage for CopyConfig {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn flow(&self, _: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Snapshot(DIRECTORIES))
    }

    async fn check(&self, _: &CheckCx) -> Result<()> {
        Ok(())
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let wanted = cx.board().need::<Wanted>(|| Error::failed("nothing is wanted"))?;
        let separate = wanted.0.iter().skip(1).map(|piece| piece.role.clone()).collect();
        cx.board().put(Coverage { atomic: false, reason: "cp is not atomic".into(), separate });
        Ok(())
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Quiesced(pieces) = &input.payload else { return Err(Error::failed("not quiesced")) };
        let mut copies = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let copy = format!("{}/{}-{at}", self.into, cx.run_id());
            copy_piece(piece, &copy).await?;
            copies.push((piece.path.clone(), copy));
        }
        cx.board().put(Copies(copies));
        let set = SnapshotSet { host: host(), format: DIRECTORIES, parts: vec![], left_out: vec![] };
        Ok(input.with(Payload::Snapshot(set)))
    }
}

async fn copy_piece(piece: &Piece, copy: &str) -> Result<()> {
    // Files may vanish while they are copied: that is what backup mode is for.
    let script = r#"mkdir -p -- "$(dirname -- "$2")"; if [ "$3" = yes ]; then cp -a -- "$1" "$2" 2>/dev/null; else mkdir -- "$2"; fi; [ -d "$2" ]"#;
    let content = if piece.content { "yes" } else { "no" };
    host().run(Command::script(script).args([piece.path.as_str(), copy, content])).await.map(drop)
}

#[derive(Debug)]
struct Directories {
    copies: Copies,
    in_place: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct MoveBack {
    target: String,
    old: String,
}

const MOVE: &str = r#"set -e; mkdir -p -- "$(dirname -- "$2")"
if [ -e "$2" ] || [ -L "$2" ]; then mv -T -- "$2" "$3"; fi
mv -T -- "$1" "$2""#;

register_undo!("test-move-back", MoveBack);

#[async_trait]
impl Undo for MoveBack {
    fn describe(&self) -> String {
        format!("move {} back", self.old)
    }

    fn by_hand(&self) -> String {
        format!("mv {} {}", self.old, self.target)
    }

    async fn undo(&self) -> Result<()> {
        let script = r#"set -e; rm -rf -- "$1.failed"; if [ -e "$2" ]; then mv -T -- "$1" "$1.failed"; mv -T -- "$2" "$1"
elif [ -e "$1/reseed.run" ] || [ -e "$1/.copied" ]; then rm -rf -- "$1"; fi"#;
        host().run(Command::script(script).args([&self.target, &self.old])).await.map(drop)
    }
}

async fn exchange(copies: &Copies, places: &[reseed_core::item::Place], cx: &StageCx) -> Result<()> {
    for place in places {
        let found = copies.0.iter().find(|(source, _)| *source == place.source);
        let (_, copy) = found.ok_or_else(|| Error::failed("a place of nothing"))?;
        let old = format!("{}.old-{}", place.target, cx.run_id());
        cx.arm(MoveBack { target: place.target.clone(), old: old.clone() })?;
        host().run(Command::script(MOVE).args([copy, &place.target, &old])).await?;
    }
    Ok(())
}

#[async_trait]
impl Volume for Directories {
    fn host(&self) -> Arc<dyn Host> {
        host()
    }

    fn locate(&self, source: &str) -> Option<String> {
        self.copies.0.iter().find(|(known, _)| known == source).map(|(_, copy)| copy.clone())
    }

    async fn take_place(&self, placement: &Placement, cx: &StageCx) -> Result<()> {
        assert!(!self.in_place, "it is in its place");
        exchange(&self.copies, &placement.places, cx).await
    }
}

#[async_trait]
impl Stage for TakeConfig {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn flow(&self, _: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Dataset(DIRECTORIES))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let copies = cx.board().get::<Copies>().ok_or_else(|| Error::failed("nothing was copied"))?;
        let mut copies = (*copies).clone();
        if self.over {
            let places = cx.board().get::<reseed_core::item::Places>().ok_or_else(|| Error::failed("no places"))?;
            exchange(&copies, &places.0, cx).await?;
            for (source, copy) in &mut copies.0 {
                let place = places.0.iter().find(|place| place.source == *source);
                *copy = place.map_or_else(|| copy.clone(), |place| place.target.clone());
            }
        }
        Ok(input.with(Payload::Dataset(Arc::new(Directories { copies, in_place: self.over }))))
    }
}

#[async_trait]
impl Stage for FailConfig {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, _: Item, _: &StageCx) -> Result<Item> {
        Err(Error::failed("failed on purpose"))
    }
}

#[async_trait]
impl Stage for MeddleConfig {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let copies = cx.board().get::<Copies>();
        let copy = copies.and_then(|copies| copies.0.first().map(|(_, copy)| copy.clone())).unwrap_or_default();
        // A script is a part of the program elsewhere; here the test is the program.
        let script: &'static str = Box::leak(self.script.clone().into_boxed_str());
        host().run(Command::script(script).arg(copy)).await?;
        Ok(input)
    }
}

/// Keeps what was said.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Observer for Listener {
    fn on(&self, event: &Event) {
        let text = match event {
            Event::Note { stage, text, .. } => format!("{stage}: {text}"),
            Event::Warning { text, .. } => format!("warning: {text}"),
            Event::StageStarted { stage, .. } => format!("{stage} begins"),
            Event::StageFinished { stage, seconds, .. } => format!("{stage} took {seconds:.3} s"),
            Event::StageFailed { stage, error, .. } => format!("{stage} failed: {error}"),
            Event::Undone { undo } => format!("undone: {undo}"),
            Event::Stuck { undo, error, by_hand } => format!("stuck: {undo}: {error}: {by_hand}"),
            Event::Chore { text } => format!("chore: {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Ran {
    /// The report.
    pub report: RunReport,
    /// Notes, warnings, undos.
    pub said: Vec<String>,
}

impl Ran {
    /// Fails the test with everything that was said.
    #[track_caller]
    pub fn expect(self, code: u8) -> Self {
        assert_eq!(self.report.exit_code(), code, "{:#?}", self);
        self
    }

    /// Whether something was said that contains this.
    pub fn said(&self, text: &str) -> bool {
        self.said.iter().any(|line| line.contains(text))
    }
}

/// Surveys and checks a pipeline file: what was noted, or every refusal.
pub async fn check(text: &str) -> std::result::Result<Vec<String>, Vec<Error>> {
    let loaded = load(text, &Default::default()).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    let listener = Arc::new(Listener::default());
    Engine::new(loaded.pipeline).observe(listener.clone()).check().await?;
    Ok(std::mem::take(&mut *listener.0.lock().unwrap()))
}

/// Runs a pipeline file, and cancels it so long after `cancel_at` was said.
pub async fn run_until(text: &str, cancel_at: Option<(&str, u64)>) -> Ran {
    let loaded = load(text, &Default::default()).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    let listener = Arc::new(Listener::default());
    let engine = Engine::new(loaded.pipeline).observe(listener.clone());
    if let Some((word, after)) = cancel_at.map(|(word, after)| (word.to_owned(), after)) {
        let (token, listener) = (engine.cancel_token(), listener.clone());
        tokio::spawn(async move {
            while !listener.0.lock().unwrap().iter().any(|line| line.contains(&word)) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(after)).await;
            token.cancel();
        });
    }
    let report = engine.run().await;
    let said = std::mem::take(&mut *listener.0.lock().unwrap());
    Ran { report, said }
}

/// Runs a pipeline file.
pub async fn run(text: &str) -> Ran {
    run_until(text, None).await
}

/// Whether there is something.
pub fn is_there(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}
