//! What `btrfs` says when it fails.

/// What a person can do about it, where that is known.
pub(crate) fn hint(said: &str) -> Option<String> {
    let said = said.to_lowercase();
    let known = [
        ("operation not permitted", "btrfs takes root: add `become = \"sudo\"` to the host, or run reseed as root"),
        ("permission denied", "btrfs takes root: add `become = \"sudo\"` to the host, or run reseed as root"),
        ("no space left", "make room: `btrfs filesystem usage PATH`, `btrfs subvolume list PATH`"),
        ("disk quota exceeded", "raise the quota: `btrfs qgroup show PATH`"),
        ("read-only file system", "see why: `dmesg | grep -i btrfs`"),
        ("not a btrfs filesystem", "see what it lies on: `df -T PATH`"),
        (
            "parent subvol is not reachable",
            "mount the file system so that the copies and their parents are below one mount",
        ),
        (
            "cannot find parent subvolume",
            "the copy that the increment starts from is gone; the next run sends the whole",
        ),
        ("send ioctl failed", "see what the kernel says: `dmesg | grep -i btrfs`"),
    ];
    known.into_iter().find(|(words, _)| said.contains(words)).map(|(_, hint)| hint.to_owned())
}

/// Whether something that still runs is in the way. The kernel answers so when a snapshot is to go that
/// is being sent.
pub(crate) fn is_in_use(said: &str) -> bool {
    let said = said.to_lowercase();
    ["operation not permitted", "resource busy", "send may be in progress"].iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_a_hint() {
        assert!(hint("ERROR: send ioctl failed with -1: Operation not permitted").unwrap().contains("become"));
        assert!(hint("ERROR: cannot find parent subvolume").unwrap().contains("the whole"));
        assert_eq!(hint("At subvol s1"), None);
    }

    #[test]
    fn a_snapshot_that_is_being_sent_is_in_use() {
        let newer = "ERROR: Could not destroy subvolume/snapshot: Operation not permitted\n\
                     WARNING: deletion failed with EPERM, you don't have permissions or send may be in progress";
        assert!(is_in_use(newer) && is_in_use("ERROR: cannot delete '/a': Device or resource busy"));
        assert!(!is_in_use("ERROR: Could not destroy subvolume/snapshot: Directory not empty"));
    }
}
