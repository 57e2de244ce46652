//! What `zfs` says when it refuses.

/// What a message of `zfs` means. Wordings are those of libzfs, which changed little from the
/// first ports to OpenZFS 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The dataset or snapshot is not there.
    NotThere,
    /// A dataset or snapshot of this name is there already.
    Exists,
    /// Something uses it.
    Busy,
    /// The receiving dataset differs from its newest snapshot.
    Modified,
    /// The receiving dataset's newest snapshot is not the one that the increment starts from.
    OtherBase,
    /// The pool or a quota is full.
    NoSpace,
    /// The user may not.
    Denied,
    /// It has child datasets.
    HasChildren,
    /// Clones depend on it.
    HasClones,
    /// More recent snapshots are in the way of a rollback.
    NewerSnapshots,
    /// A hold is on the snapshot.
    Held,
    /// It is not mounted.
    NotMounted,
    /// It is mounted already.
    AlreadyMounted,
    /// The tag or the hold is not there, or is there already: nothing to do.
    SameHold,
    /// This `zfs` can't do that.
    Unsupported,
    /// The pool lacks a feature that the stream or the act needs.
    OldPool,
    /// The stream ended early or is damaged.
    BadStream,
    /// The encryption key is not loaded.
    NoKey,
    /// What arrived of a cut-off receive is in the way of another.
    Partial,
    /// Nothing of a cut-off receive is kept.
    NoPartial,
    /// What a token resumes is no longer there, or it is no token.
    BadToken,
    /// Anything else.
    Other,
}

/// Words and their meaning; the first that is found counts.
const MEANINGS: &[(&str, Said)] = &[
    ("pyzfs.py not found", Said::Unsupported),
    ("unrecognized command", Said::Unsupported),
    ("does not have any resumable receive state", Said::NoPartial),
    ("contains partially-complete state", Said::Partial),
    ("cannot resume send", Said::BadToken),
    // Before the words for mounting: with `-f` not given, both are said.
    ("key not loaded", Said::NoKey),
    ("key must be loaded", Said::NoKey),
    ("permission denied", Said::Denied),
    ("operation not permitted", Said::Denied),
    ("insufficient privileges", Said::Denied),
    ("must be superuser", Said::Denied),
    ("must be root", Said::Denied),
    ("may only be mounted by root", Said::Denied),
    ("out of space", Said::NoSpace),
    ("no space left", Said::NoSpace),
    ("quota exceeded", Said::NoSpace),
    ("has been modified", Said::Modified),
    ("most recent snapshot of", Said::OtherBase),
    ("does not match incremental source", Said::OtherBase),
    ("more recent snapshots", Said::NewerSnapshots),
    ("dependent clones", Said::HasClones),
    ("has children", Said::HasChildren),
    ("no such tag", Said::SameHold),
    ("tag already exists", Said::SameHold),
    ("is held", Said::Held),
    ("being held", Said::Held),
    ("user release", Said::Held),
    ("not currently mounted", Said::NotMounted),
    ("already mounted", Said::AlreadyMounted),
    ("dataset is busy", Said::Busy),
    ("is busy", Said::Busy),
    ("device busy", Said::Busy),
    ("resource busy", Said::Busy),
    ("does not exist", Said::NotThere),
    ("could not find any snapshots to destroy", Said::NotThere),
    ("no such pool", Said::NotThere),
    ("no such file or directory", Said::NotThere),
    ("already exists", Said::Exists),
    ("bookmark exists", Said::Exists),
    ("must specify -f to overwrite", Said::Exists),
    ("invalid backup stream", Said::BadStream),
    ("invalid stream", Said::BadStream),
    ("incomplete stream", Said::BadStream),
    ("checksum mismatch", Said::BadStream),
    ("failed to read from stream", Said::BadStream),
    ("must be upgraded", Said::OldPool),
    ("feature unsupported", Said::OldPool),
    ("not supported by this pool", Said::OldPool),
    ("unsupported feature", Said::OldPool),
    ("stream feature is not supported", Said::OldPool),
    ("invalid option", Said::Unsupported),
    ("invalid property", Said::Unsupported),
    ("bad property list", Said::Unsupported),
    ("too many arguments", Said::Unsupported),
    ("not supported", Said::Unsupported),
    ("zfs modules are not loaded", Said::Unsupported),
];

impl Said {
    /// Reads what a failed command wrote to standard error.
    pub(crate) fn read(text: &str) -> Self {
        // Line ends fall in the middle of sentences: "has been modified\nsince most recent snapshot".
        let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        // What is in the way of destroying a dataset is the hidden one below it, into which a receive that
        // was ended is still at work.
        if text.contains("cannot destroy") && text.contains("already exists") {
            return Said::Busy;
        }
        let known = MEANINGS.iter().find(|(words, _)| text.contains(words));
        known.map_or(Said::Other, |(_, said)| *said)
    }

    /// What a person can do about it, where that does not depend on what was attempted.
    pub(crate) fn hint(self, name: &str) -> Option<String> {
        let dataset = name.split(['@', '#']).next().unwrap_or(name);
        let pool = dataset.split('/').next().unwrap_or(dataset);
        Some(match self {
            Said::NotThere => format!("see what is there: `zfs list -r -t all {pool}`"),
            Said::Exists => format!("see what it is, and rename or destroy it: `zfs list -r -t all {dataset}`"),
            Said::Busy if name.contains('@') => format!("see whether it is held: `zfs holds {name}`"),
            Said::Busy => format!("see who uses it: `fuser -vm \"$(zfs get -H -o value mountpoint {dataset})\"`"),
            Said::Modified => {
                format!("something wrote to {dataset}: `zfs rollback` it to its newest snapshot, and set readonly=on")
            }
            Said::OtherBase | Said::NewerSnapshots => {
                format!("newer snapshots are in the way, see `zfs list -r -d 1 -t snapshot {dataset}`")
            }
            Said::NoSpace => format!("make room, in the pool or under the quota: `zfs list -o space,quota -r {pool}`"),
            Said::Denied => "give the user the right by `zfs allow`, or the host a `become = \"sudo\"`".to_owned(),
            Said::HasChildren => format!("see its children: `zfs list -r {dataset}`"),
            Said::HasClones => format!("see its clones: `zfs list -r -o name,origin {pool} | grep {dataset}@`"),
            Said::Held => format!("see who holds it: `zfs holds {name}`"),
            Said::NoKey => format!("load the key: `zfs load-key -r {dataset}`"),
            Said::OldPool => format!("see which features the pool lacks: `zpool get all {pool} | grep feature@`"),
            Said::BadStream => {
                "the stream was cut or its base differs: see the sender's error and run again".to_owned()
            }
            Said::Partial => format!("if what arrived before can go: `zfs receive -A {dataset}`"),
            Said::BadToken => "run again: what can't be resumed is then given up and sent anew".to_owned(),
            Said::NotMounted | Said::NoPartial | Said::AlreadyMounted => return None,
            Said::SameHold | Said::Unsupported | Said::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests;
