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
    /// The stream ended early or is damaged.
    BadStream,
    /// The encryption key is not loaded.
    NoKey,
    /// Anything else.
    Other,
}

/// Words and their meaning; the first that is found counts.
const MEANINGS: &[(&str, Said)] = &[
    ("pyzfs.py not found", Said::Unsupported),
    ("unrecognized command", Said::Unsupported),
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
    ("mountpoint or dataset is busy", Said::Busy),
    ("is busy", Said::Busy),
    ("target is busy", Said::Busy),
    ("device busy", Said::Busy),
    ("resource busy", Said::Busy),
    ("does not exist", Said::NotThere),
    ("could not find any snapshots to destroy", Said::NotThere),
    ("no such pool", Said::NotThere),
    ("no such file or directory", Said::NotThere),
    ("already exists", Said::Exists),
    ("must specify -f to overwrite", Said::Exists),
    ("key not loaded", Said::NoKey),
    ("key must be loaded", Said::NoKey),
    ("invalid backup stream", Said::BadStream),
    ("incomplete stream", Said::BadStream),
    ("checksum mismatch", Said::BadStream),
    ("failed to read from stream", Said::BadStream),
    ("invalid option", Said::Unsupported),
    ("too many arguments", Said::Unsupported),
    ("not supported", Said::Unsupported),
    ("must be upgraded", Said::Unsupported),
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
            Said::NoSpace => format!("make room in the pool: `zfs list -o space -r {pool}`"),
            Said::Denied => "give the user the right by `zfs allow`, or the host a `become = \"sudo\"`".to_owned(),
            Said::HasChildren => format!("see its children: `zfs list -r {dataset}`"),
            Said::HasClones => format!("see its clones: `zfs list -r -o name,origin {pool} | grep {dataset}@`"),
            Said::Held => format!("see who holds it: `zfs holds {name}`"),
            Said::NoKey => format!("load the key: `zfs load-key -r {dataset}`"),
            Said::BadStream => {
                "the stream was cut or its base differs: see the sender's error and run again".to_owned()
            }
            Said::NotMounted | Said::AlreadyMounted | Said::SameHold | Said::Unsupported | Said::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_zfs_is_understood() {
        let said = |text: &str| Said::read(text);
        assert_eq!(said("cannot open 'nope/x': dataset does not exist"), Said::NotThere);
        assert_eq!(said("cannot create snapshot 'ta/a@s1': dataset already exists"), Said::Exists);
        assert_eq!(said("cannot destroy 'tb/zd': dataset is busy"), Said::Busy);
        assert_eq!(said("cannot destroy 'tb/zd': dataset already exists"), Said::Busy);
        assert_eq!(
            said("cannot receive incremental stream: destination tb/zd has been modified\nsince most recent snapshot"),
            Said::Modified
        );
        assert_eq!(
            said(
                "cannot receive incremental stream: most recent snapshot of tb/zx/a does not\nmatch incremental source"
            ),
            Said::OtherBase
        );
        assert_eq!(said("cannot receive incremental stream: invalid backup stream"), Said::BadStream);
        assert_eq!(
            said(
                "cannot destroy 'tb/a@s1': snapshot has dependent clones\nuse '-R' to destroy the following datasets:"
            ),
            Said::HasClones
        );
        assert_eq!(
            said("cannot destroy 'ta/a': filesystem has children\nuse '-r' to destroy the following datasets:"),
            Said::HasChildren
        );
        assert_eq!(said("cannot rollback to 'tb/a@s1': more recent snapshots exist"), Said::NewerSnapshots);
        assert_eq!(said("cannot unmount 'tb/a': not currently mounted"), Said::NotMounted);
        assert_eq!(said("cannot mount 'tb/a': filesystem already mounted"), Said::AlreadyMounted);
        assert_eq!(said("internal error: /usr/lib/zfs/pyzfs.py not found"), Said::Unsupported);
    }

    #[test]
    fn openzfs_is_understood() {
        let said = |text: &str| Said::read(text);
        assert_eq!(said("cannot create snapshots : permission denied"), Said::Denied);
        assert_eq!(said("cannot destroy snapshots: permission denied"), Said::Denied);
        assert_eq!(said("cannot create snapshot 'tank/pg@x': out of space"), Said::NoSpace);
        assert_eq!(said("cannot unmount '/data/pgsql': pool or dataset is busy"), Said::Busy);
        assert_eq!(said("cannot hold snapshot 'tank/a@x': tag already exists on this dataset"), Said::SameHold);
        assert_eq!(said("cannot release 'k' from 'tank/a@x': no such tag on this dataset"), Said::SameHold);
        assert_eq!(said("cannot destroy snapshot tank/a@x: it's being held. Run 'zfs holds -r tank/a@x'"), Said::Held);
        assert_eq!(said("could not find any snapshots to destroy; check snapshot names."), Said::NotThere);
    }
}
