//! What an earlier put began, for this one to go on with.

use std::collections::BTreeSet;

use reseed_core::Result;
use reseed_core::item::{SnapshotPart, StreamHeader};
use reseed_core::stage::CheckCx;

use super::Put;
use crate::chain::Link;
use crate::format::{Manifest, Stream};
use crate::uploads::{Found, uploads};

/// An upload that this run could go on with, and the manifest that it will have, but for the chunks: on the
/// board from the survey on.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) found: Found,
    pub(super) draft: Manifest,
    /// The root of the chain that it adds to; `None` for a full.
    pub(super) root: Option<String>,
}

/// Looks for an upload of these datasets that nobody works on and that follows the newest manifest.
pub(super) async fn find(put: &Put, datasets: &[&str], cx: &CheckCx) -> Result<Option<Begun>> {
    let mut fitting = vec![];
    for found in uploads(put.store.as_ref()).await? {
        let Some(draft) = found.draft(&put.seal.trust).cloned() else { continue };
        let known = |stream: &Stream| datasets.contains(&stream.dataset.as_str());
        // What is kept is encrypted as it was said then.
        let recipients = put.how.recipients.names();
        let alike = |stream: &Stream| known(stream) && stream.recipients == recipients;
        if found.is_idle() && draft.streams.iter().all(alike) {
            fitting.push((found, draft));
        }
    }
    let Some((found, draft)) = fitting.into_iter().max_by_key(|(_, draft)| draft.created) else { return Ok(None) };
    let base = put.base(draft.main(), cx).await?;
    if draft.parent != base.as_ref().map(|(_, link)| Link::as_parent(link)) {
        return Ok(None);
    }
    let begun = Begun { root: base.map(|(root, _)| root), found, draft };
    cx.note(format!("goes on with what the run {} began", begun.draft.run));
    cx.board().put(begun.clone());
    Ok(Some(begun))
}

impl Begun {
    /// The snapshots that its streams are of.
    pub(super) fn parts(&self) -> Vec<SnapshotPart> {
        self.draft.streams.iter().map(Stream::part).collect()
    }

    /// Whether these are its streams, made as they were.
    pub(super) fn is_of(&self, headers: &[StreamHeader]) -> bool {
        let mine = |stream: &Stream| {
            let Stream { dataset, guid, from_guid, between, made, .. } = stream.clone();
            (dataset, guid, from_guid, between, made)
        };
        let given = |header: &StreamHeader| {
            let StreamHeader { part, from_guid, between, made, .. } = header.clone();
            (part.dataset, part.guid, from_guid, between, made)
        };
        let mine: BTreeSet<_> = self.draft.streams.iter().map(mine).collect();
        mine == headers.iter().map(given).collect()
    }
}
