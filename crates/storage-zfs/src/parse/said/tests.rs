//! Messages of three sorts of `zfs`: recorded from zfs-fuse (pool version 23), recorded from OpenZFS
//! 2.4.4 in the project's virtual machines, and, for 2.1 to 2.3, read in the sources of libzfs.

use super::*;

/// Each of these is understood, and says what to do where that is not plain.
#[track_caller]
fn all(recorded: &[(&str, Said)]) {
    for (text, said) in recorded {
        assert_eq!(Said::read(text), *said, "{text}");
        let plain = [Said::NotMounted, Said::AlreadyMounted, Said::SameHold, Said::NoPartial, Said::Unsupported];
        assert_eq!(said.hint("tank/a@1").is_some(), !plain.contains(said), "{text}");
    }
}

#[test]
fn an_old_zfs_is_understood() {
    all(&[
        ("cannot open 'nope/x': dataset does not exist", Said::NotThere),
        ("cannot create snapshot 'ta/a@s1': dataset already exists", Said::Exists),
        ("cannot destroy 'tb/zd': dataset is busy", Said::Busy),
        ("cannot destroy 'tb/zd': dataset already exists", Said::Busy),
        (
            "cannot receive incremental stream: destination tb/zd has been modified\nsince most recent snapshot",
            Said::Modified,
        ),
        (
            "cannot receive incremental stream: most recent snapshot of tb/zx/a does not\nmatch incremental source",
            Said::OtherBase,
        ),
        ("cannot receive incremental stream: invalid backup stream", Said::BadStream),
        (
            "cannot destroy 'tb/a@s1': snapshot has dependent clones\nuse '-R' to destroy the following datasets:",
            Said::HasClones,
        ),
        (
            "cannot destroy 'ta/a': filesystem has children\nuse '-r' to destroy the following datasets:",
            Said::HasChildren,
        ),
        ("cannot rollback to 'tb/a@s1': more recent snapshots exist", Said::NewerSnapshots),
        ("cannot unmount 'tb/a': not currently mounted", Said::NotMounted),
        ("cannot mount 'tb/a': filesystem already mounted", Said::AlreadyMounted),
        ("internal error: /usr/lib/zfs/pyzfs.py not found", Said::Unsupported),
        ("bad property list: invalid property 'receive_resume_token'", Said::Unsupported),
    ]);
}

#[test]
fn openzfs_2_4_is_understood() {
    all(&[
        ("cannot open 'tank/nope': dataset does not exist", Said::NotThere),
        ("could not find any snapshots to destroy; check snapshot names.", Said::NotThere),
        ("cannot create 'tank/in': dataset already exists", Said::Exists),
        ("cannot create bookmark 'tank/a#b2': bookmark exists", Said::Exists),
        (
            "cannot receive new filesystem stream: destination 'tank/in/a' exists\nmust specify -F to overwrite it",
            Said::Exists,
        ),
        ("cannot unmount '/tank/a': pool or dataset is busy", Said::Busy),
        (
            "cannot receive incremental stream: most recent snapshot of tank/in/a does not\nmatch incremental source",
            Said::OtherBase,
        ),
        (
            "cannot rollback to 'tank/a@1': more recent snapshots or bookmarks exist\nuse '-r' to force deletion of \
             the following snapshots and bookmarks:\ntank/a@4",
            Said::NewerSnapshots,
        ),
        (
            "cannot destroy 'tank/in': filesystem has children\nuse '-r' to destroy the following datasets:\ntank/in/a",
            Said::HasChildren,
        ),
        (
            "cannot destroy 'tank/in/a@1': snapshot has dependent clones\nuse '-R' to destroy the following datasets:",
            Said::HasClones,
        ),
        ("cannot receive new filesystem stream: out of space", Said::NoSpace),
        ("cannot receive new filesystem stream: destination tank/small/a space quota exceeded.", Said::NoSpace),
        ("cannot create snapshots : permission denied", Said::Denied),
        ("cannot destroy snapshots: permission denied", Said::Denied),
        ("warning: cannot send 'tank/a@1': permission denied", Said::Denied),
        ("cannot hold: permission denied", Said::Denied),
        ("cannot create bookmark 'tank/a#no': permission denied", Said::Denied),
        ("cannot set property for 'tank/a': permission denied", Said::Denied),
        ("cannot mount 'tank/in/a': Insufficient privileges", Said::Denied),
        ("cannot receive new filesystem stream: permission denied", Said::Denied),
        ("cannot release hold from snapshot 'tank/a@1': no such tag on this dataset", Said::SameHold),
        ("cannot mount '/tank/ec': encryption key not loaded", Said::NoKey),
        ("warning: cannot send 'tank/e@1': dataset key must be loaded", Said::NoKey),
        ("cannot receive new filesystem stream: pool must be upgraded to receive this stream.", Said::OldPool),
        ("cannot receive new filesystem stream: incomplete stream", Said::BadStream),
        ("cannot receive new filesystem stream: checksum mismatch", Said::BadStream),
        (
            "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\nPartially received snapshot \
             is saved.\nA resuming stream can be generated on the sending system by running:\n    zfs send -t 1-dc63-f0",
            Said::BadStream,
        ),
        ("cannot receive: invalid stream (bad magic number)", Said::BadStream),
        ("cannot receive: failed to read from stream", Said::BadStream),
        (
            "cannot receive incremental stream: destination tank/in/a contains partially-complete state from \"zfs \
             receive -s\".",
            Said::Partial,
        ),
        ("'tank/in/a' does not have any resumable receive state to abort", Said::NoPartial),
        ("cannot resume send: 'tank/a@2' used in the initial send no longer exists", Said::BadToken),
        ("cannot resume send: resume token is corrupt (incorrect checksum)", Said::BadToken),
        ("invalid option 'Q'\nusage:\n\tsend [-DLPbcehnpsVvw] [-i|-I snapshot]", Said::Unsupported),
        ("unrecognized command 'frobnicate'", Said::Unsupported),
    ]);
}

#[test]
fn what_the_sources_of_libzfs_say_is_understood() {
    all(&[
        ("cannot create snapshot 'tank/pg@x': out of space", Said::NoSpace),
        ("cannot hold snapshot 'tank/a@x': tag already exists on this dataset", Said::SameHold),
        ("cannot destroy snapshot tank/a@x: it's being held. Run 'zfs holds -r tank/a@x' to see holders.", Said::Held),
        (
            "cannot receive incremental stream: destination tank/in/a has been modified\nsince most recent snapshot",
            Said::Modified,
        ),
        ("cannot receive incremental stream: destination is busy", Said::Busy),
        ("cannot receive incremental stream: kernel modules must be upgraded to receive this stream.", Said::OldPool),
        ("cannot receive incremental stream: inherited key must be loaded", Said::NoKey),
    ]);
}
