//! Whatever goes wrong in whichever stage: everything is as it was, and the next run succeeds.
//!
//! Generic over the stages of both ways, so that a new stage is tested as soon as it is in one.

use std::time::Duration;

use reseed_core::report::Outcome;
use reseed_lab::{Major, PairOptions, Recipe, Storage, Switch};
use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::ready_for;
use reseed_tests::run::{Ended, Trial};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_millis(800);

/// Tries every fault in every stage, then runs once without any.
async fn unwinds(storage: Storage, switch: Switch, faults: &[Fault]) {
    if !ready_for(storage) {
        return;
    }
    let recipe = Recipe { switch, ..Recipe::default() };
    let mut scene = Scene::with(&PairOptions { storage, ..PairOptions::small(Major::newest().unwrap()) });
    scene.succeed(&recipe).await;
    let stages = Trial::of(&scene.pipeline(&recipe)).stages();
    let mut wrong = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        for fault in faults {
            println!("{stage}: {fault:?}");
            let text = scene.pipeline(&recipe);
            let before = State::of(&scene);
            let ended = Trial::of(&text).wrap(index, Faulty::wrap(*fault)).run().await;
            let found = judge(&scene, &before, &ended, *fault).await;
            wrong.extend(found.into_iter().map(|what| format!("{stage}, {fault:?}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), scene.logs());
    scene.succeed(&recipe).await;
}

/// Everything that is not as it should be after a run that failed.
async fn judge(scene: &Scene, before: &State, ended: &Ended, fault: Fault) -> Vec<String> {
    let mut wrong = Vec::new();
    let code = ended.report.exit_code();
    if (ended.report.outcome, code) != (Outcome::Undone, fault.exit_code()) {
        wrong.push(format!("exit code {code}\n{}", ended.story()));
    }
    wrong.extend(scene.is_as_it_was(before));
    wrong
}

macro_rules! matrix {
    ($($name:ident: $($fault:expr),+;)*) => {
        mod by_clone {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                unwinds(Storage::Zfs, Switch::Clone, &[$($fault),+]).await;
            })*
        }
        mod btrfs_by_clone {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                unwinds(Storage::Btrfs, Switch::Clone, &[$($fault),+]).await;
            })*
        }
        mod in_place {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                unwinds(Storage::Zfs, Switch::InPlace, &[$($fault),+]).await;
            })*
        }
    };
}

matrix! {
    errors_at_either_end: Fault::ErrorBefore, Fault::ErrorAfter;
    errors_in_the_midst: Fault::ErrorDuring(SOON), Fault::ErrorDuring(LATER);
    panics: Fault::PanicDuring(LATER), Fault::PanicAfter;
    timeouts: Fault::TimesOut(LATER);
    cancels: Fault::CancelDuring(SOON), Fault::CancelDuring(LATER), Fault::CancelDuring(LATE);
}
