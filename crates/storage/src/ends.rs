//! What the stages of every storage take, and for whom.

use reseed_core::stage::StageCx;
use reseed_core::{Class, Format, Kind, Mismatch, Result};

/// Takes a quiesced source and gives snapshots of it.
///
/// # Errors
/// For anything else.
pub fn takes_quiesced(format: Format, input: &Kind) -> Result<Kind, Box<Mismatch>> {
    let gives = Kind::Snapshot(format);
    match input {
        Kind::Quiesced => Ok(gives),
        other => {
            let mismatch = Mismatch::new("a quiesced source", other, gives);
            Err(mismatch.hint("a stage that prepares the source for a snapshot must stand in front of it"))
        }
    }
}

/// Takes what `receiver` has received, and gives it in another form.
///
/// # Errors
/// For anything else.
pub fn takes_received(format: Format, input: &Kind, receiver: &str) -> Result<Kind, Box<Mismatch>> {
    let dataset = Kind::Dataset(format);
    match input {
        input if *input == dataset => Ok(dataset),
        other => {
            let mismatch = Mismatch::new(format!("a {dataset}"), other, dataset.clone());
            Err(mismatch.hint(format!("{receiver} must stand in front of it")))
        }
    }
}

/// For whom snapshots are: the receiver's name, or the pipeline's where none is known. Nothing is asked about
/// datasets, so that the quiesced source need not wait.
///
/// # Errors
/// When the receiver can't be asked.
pub async fn target(cx: &StageCx) -> Result<String> {
    match cx.holdings(&[]).await {
        Ok(held) => Ok(held.target),
        Err(error) if error.class() == Class::Refused => Ok(format!("pipeline:{}", cx.pipeline())),
        Err(error) => Err(error),
    }
}
