//! What is kept of a receive that was cut off, and whether it can be gone on with.
//!
//! The receiver looks for it whenever it is asked what it holds, and leaves it on the board. The
//! sender, who knows what is still there to be sent, decides. What is gone on with is committed as
//! the snapshot that the cut-off stream was of, and is the anchor of the increment that follows.

use reseed_core::stage::CheckCx;

use crate::parse::{Snapshot, Token};

/// What is kept of one dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partial {
    /// The dataset on the source.
    pub(crate) source: String,
    /// The dataset on the target.
    pub(crate) dataset: String,
    /// What it is of.
    pub(crate) token: Token,
}

/// What is kept, from the receiver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partials(pub(crate) Vec<Partial>);

/// What will be gone on with, from the sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resuming(pub(crate) Vec<Partial>);

impl Partials {
    /// What is kept of a dataset of the source.
    pub(crate) fn of(cx: &CheckCx, source: &str) -> Option<Partial> {
        let all = cx.board().get::<Partials>()?;
        all.0.iter().find(|partial| partial.source == source).cloned()
    }
}

impl Resuming {
    /// What of a dataset of the target will be gone on with.
    pub(crate) fn into(cx: &CheckCx, dataset: &str) -> Option<Partial> {
        let all = cx.board().get::<Resuming>()?;
        all.0.iter().find(|partial| partial.dataset == dataset).cloned()
    }
}

impl Partial {
    /// The snapshot that it is of, if the source still has that one and the one that it started from
    /// is held by the target. Snapshots are told by their GUIDs: a token of another dataset, or of a
    /// snapshot that was made anew under the old name, is none of ours.
    pub(crate) fn resumable<'s>(&self, mine: &'s [Snapshot], held: &[String]) -> Option<&'s Snapshot> {
        let started = self
            .token
            .from_guid
            .as_ref()
            .is_none_or(|from| held.last() == Some(from) && mine.iter().any(|one| one.guid == *from));
        let snapshot = mine.iter().find(|one| !one.is_bookmark() && one.guid == self.token.to_guid);
        snapshot.filter(|_| started && (self.token.from_guid.is_some() || held.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, guid: &str) -> Snapshot {
        Snapshot { name: format!("ta/a{name}"), guid: guid.into(), target: None, holds: 0 }
    }

    fn partial(from: Option<&str>, to: &str) -> Partial {
        let token = Token {
            text: "1-a".into(),
            to_name: "ta/a@2".into(),
            to_guid: to.into(),
            from_guid: from.map(str::to_owned),
            bytes: 1,
        };
        Partial { source: "ta/a".into(), dataset: "tb/a".into(), token }
    }

    #[test]
    fn only_what_both_sides_can_go_on_with_is_resumed() {
        let mine = [snapshot("@1", "a"), snapshot("@2", "b"), snapshot("#3", "c")];
        let held = ["a".to_owned()];
        let short =
            |partial: Partial, held: &[String]| partial.resumable(&mine, held).map(|one| one.short().to_owned());
        assert_eq!(short(partial(Some("a"), "b"), &held).as_deref(), Some("2"));
        assert_eq!(short(partial(None, "b"), &[]).as_deref(), Some("2"));
        // Made anew under the old name; only a bookmark is left; another base; a base that has moved on.
        assert_eq!(short(partial(Some("a"), "z"), &held), None);
        assert_eq!(short(partial(Some("a"), "c"), &held), None);
        assert_eq!(short(partial(Some("z"), "b"), &held), None);
        assert_eq!(short(partial(Some("a"), "b"), &["a".to_owned(), "y".to_owned()]), None);
        // A full one into what holds snapshots by now.
        assert_eq!(short(partial(None, "b"), &held), None);
    }
}
