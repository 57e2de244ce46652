//! What of a chain has arrived whole, and stays when the rest fails.

use super::{Sink, StageCx};
use crate::Result;
use crate::item::{ArrivalsStay, StreamHeader};
use crate::undo::Armed;

/// What has arrived since something was last let stay.
#[derive(Debug)]
pub(super) struct Arrivals {
    stay: bool,
    /// What was armed when it began to arrive.
    before: Vec<Armed>,
    arrived: Vec<StreamHeader>,
}

impl Arrivals {
    /// Nothing yet. What is shared by branches is not for one of them to keep.
    pub(super) fn of(stays: bool, cx: &StageCx) -> Self {
        let stay = stays && cx.branch().is_none() && cx.board().get::<ArrivalsStay>().is_some();
        Self { stay, before: armed(cx), arrived: vec![] }
    }

    /// Adds what has arrived.
    pub(super) fn add(&mut self, header: &StreamHeader) {
        self.arrived.push(header.clone());
    }

    /// Before a stream: where it goes on with a dataset that has arrived, the increment before it is whole,
    /// and is not taken back any more.
    pub(super) async fn before(&mut self, next: &StreamHeader, sink: &impl Sink, cx: &StageCx) -> Result<()> {
        let again = self.arrived.iter().any(|header| header.part.dataset == next.part.dataset);
        if !self.stay || !again {
            return Ok(());
        }
        sink.settle(&self.arrived, cx).await?;
        // In one act: datasets of which some had arrived and others not would fit no increment any more.
        let new: Vec<_> = armed(cx).into_iter().filter(|armed| !self.before.contains(armed)).collect();
        cx.run.undo.disarm_all(&new)?;
        self.arrived.clear();
        Ok(())
    }
}

fn armed(cx: &StageCx) -> Vec<Armed> {
    cx.run.undo.armed().into_iter().map(|held| held.armed).collect()
}
