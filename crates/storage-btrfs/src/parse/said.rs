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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_a_hint() {
        assert!(hint("ERROR: send ioctl failed with -1: Operation not permitted").unwrap().contains("become"));
        assert!(hint("ERROR: cannot find parent subvolume").unwrap().contains("the whole"));
        assert_eq!(hint("At subvol s1"), None);
    }
}
