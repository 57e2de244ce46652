//! The mount table with the root of each mount: `/proc/self/mountinfo` of Linux.

use reseed_storage::mounts::unescape;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// What of the file system is mounted: a path in it, `/` for the whole.
    pub(crate) root: String,
    /// Where.
    pub(crate) path: String,
    /// The file system's type.
    pub(crate) kind: String,
    /// The device.
    pub(crate) device: String,
}

/// Reads `/proc/self/mountinfo`. What a later mount on the same path hides is left out.
pub(crate) fn mounted(text: &str) -> Vec<Mounted> {
    let mut all: Vec<Mounted> = Vec::new();
    for mount in text.lines().filter_map(line) {
        all.retain(|other| other.path != mount.path);
        all.push(mount);
    }
    all
}

fn line(line: &str) -> Option<Mounted> {
    let (place, what) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3).map(unescape);
    let (root, path) = (place.next()?, place.next()?);
    let mut what = what.split(' ').map(unescape);
    let (kind, device) = (what.next()?, what.next()?);
    Some(Mounted { root, path, kind, device })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_and_blanks_are_read_and_hidden_mounts_are_not() {
        let text = "26 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    48 27 0:44 / /over rw - ext4 /dev/vdb rw\n\
                    49 27 0:44 /@pg/a\\040b /over rw,relatime shared:1 - btrfs /dev/loop0 rw,subvolid=256,subvol=/@pg\n";
        let all = mounted(text);
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].root.as_str(), all[1].path.as_str()), ("/@pg/a b", "/over"));
        assert_eq!((all[1].kind.as_str(), all[1].device.as_str()), ("btrfs", "/dev/loop0"));
    }
}
