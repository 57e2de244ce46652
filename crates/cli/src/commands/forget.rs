//! `reseed forget`.

use std::sync::Arc;

use reseed_core::stage::Stage;
use reseed_core::{Error, Result};

use super::on_runtime;
use crate::args::ForgetArgs;
use crate::{exit, file, out};

pub(crate) fn run(args: &ForgetArgs) -> u8 {
    match file::load(&args.file, false) {
        Ok(loaded) => on_runtime(go(&all(loaded.pipeline.stages()), &args.target)),
        Err(code) => code,
    }
}

/// The stages and those of every branch.
fn all(stages: &[Arc<dyn Stage>]) -> Vec<Arc<dyn Stage>> {
    let below =
        |stage: &Arc<dyn Stage>| stage.branches().iter().flat_map(|branch| all(&branch.stages)).collect::<Vec<_>>();
    stages.iter().flat_map(|stage| std::iter::once(Arc::clone(stage)).chain(below(stage))).collect()
}

async fn go(stages: &[Arc<dyn Stage>], target: &str) -> u8 {
    match forget(stages, target).await {
        Ok(()) => exit::DONE,
        Err(error) => {
            out::error(&error.chain(), error.hint_text());
            match error.class() {
                reseed_core::Class::Refused => exit::REFUSED,
                _ => exit::FAILED,
            }
        }
    }
}

async fn forget(stages: &[Arc<dyn Stage>], target: &str) -> Result<()> {
    let mut known = vec![];
    for stage in stages {
        known.extend(stage.targets().await.map_err(Error::into_refusal)?);
    }
    let same = |name: &String| name.replace('/', ":") == target.replace('/', ":");
    if !known.iter().any(same) {
        let error = Error::refused(format!("nothing is kept for a target `{target}`"));
        return Err(match known.is_empty() {
            true => error,
            false => error.hint(format!("something is kept for: {}", known.join(", "))),
        });
    }
    for stage in stages {
        stage.forget(target).await?.iter().for_each(|line| out::talk(line));
    }
    Ok(())
}
