//! `reseed run`.

use std::collections::BTreeMap;
use std::sync::Arc;

use reseed_core::config::Loaded;
use reseed_core::engine::{Engine, Options};

use super::on_runtime;
use crate::args::{RunArgs, TalkArgs};
use crate::observe::{Roles, Watch};
use crate::signals::Signals;
use crate::{exit, file, out};

pub(crate) fn run(args: &RunArgs) -> u8 {
    match file::load(&args.file, args.talk.json) {
        Ok(loaded) => on_runtime(go(loaded, args.talk, Options::default())),
        Err(code) => code,
    }
}

/// Runs a pipeline that is in no file.
pub(crate) fn text(name: &str, text: &str, talk: TalkArgs) -> u8 {
    match file::build(name, text, &BTreeMap::new(), talk.json) {
        Ok(loaded) => on_runtime(go(loaded, talk, Options::default())),
        Err(code) => code,
    }
}

/// Runs a pipeline that is in no file and takes everything back, however it ends.
pub(crate) async fn rehearse(name: &str, text: &str, talk: TalkArgs) -> u8 {
    let mut options = Options::default();
    options.rehearsal = true;
    match file::build(name, text, &BTreeMap::new(), talk.json) {
        Ok(loaded) => go(loaded, talk, options).await,
        Err(code) => code,
    }
}

async fn go(loaded: Loaded, talk: TalkArgs, options: Options) -> u8 {
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        // Without them a Ctrl-C would leave things behind: better not to begin.
        Err(error) => {
            out::error(&format!("can't catch signals: {error}"), None);
            return exit::FAILED;
        }
    };
    let watch = Watch::begin(talk, Roles::of(&loaded));
    let engine = Engine::new(loaded.pipeline).options(options).observe(Arc::new(watch.speaker()));
    let speaker = watch.speaker();
    let report = tokio::select! {
        report = engine.run() => report,
        never = signals.steer(&engine, &speaker) => match never {},
    };
    watch.end();
    report.exit_code()
}
