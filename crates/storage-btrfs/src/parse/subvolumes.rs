//! What `btrfs filesystem show` and `btrfs subvolume list | show` print.

use std::collections::BTreeSet;

/// The id of the subvolume that all others are in.
pub(crate) const TOP: u64 = 5;

/// A subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subvolume {
    /// Its id in its file system; later ones have higher ids.
    pub(crate) id: u64,
    /// Its identity.
    pub(crate) uuid: String,
    /// Identity of what it was a snapshot of when it was made.
    pub(crate) parent: Option<String>,
    /// Identity of what it was received from.
    pub(crate) received: Option<String>,
    /// Its path in the file system, with a `/` in front.
    pub(crate) path: String,
    /// Whether it is read-only.
    pub(crate) readonly: bool,
}

impl Subvolume {
    /// The identity of its content, as the kernel writes it into a stream.
    pub(crate) fn identity(&self) -> &str {
        self.received.as_deref().unwrap_or(&self.uuid)
    }
}

/// A file system with all its subvolumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filesystem {
    /// Its identity.
    pub(crate) uuid: String,
    /// Its subvolumes, the oldest first, the topmost among them where it could be looked at.
    pub(crate) subvolumes: Vec<Subvolume>,
}

/// Reads the output of `btrfs filesystem show`, a line `all`, that of `btrfs subvolume list -apcuqR`,
/// a line `readonly`, that of `btrfs subvolume list -ar`, a line `here`, and that of `btrfs subvolume
/// show`.
pub(crate) fn filesystem(text: &str) -> Option<Filesystem> {
    let (head, rest) = text.split_once("\nall\n")?;
    let (all, rest) = rest.split_once("readonly\n")?;
    let (readonly, here) = rest.split_once("here\n")?;
    let uuid = head.lines().find_map(|line| line.split_once("uuid: "))?.1.trim().to_owned();
    let readonly: BTreeSet<u64> = readonly.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    let mut subvolumes: Vec<_> = all.lines().filter_map(|line| listed(line, &readonly)).collect();
    subvolumes.extend(top(here));
    subvolumes.sort_by_key(|subvolume| subvolume.id);
    Some(Filesystem { uuid, subvolumes })
}

fn listed(line: &str, readonly: &BTreeSet<u64>) -> Option<Subvolume> {
    let (fields, path) = line.split_once(" path ")?;
    let words: Vec<_> = fields.split_whitespace().collect();
    let after = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let uuid = |name: &str| after(name).filter(|uuid| *uuid != "-").map(str::to_owned);
    let id = after("ID")?.parse().ok()?;
    let path = format!("/{}", path.strip_prefix("<FS_TREE>/").unwrap_or(path));
    let (parent, received) = (uuid("parent_uuid"), uuid("received_uuid"));
    Some(Subvolume { id, uuid: uuid("uuid")?, parent, received, path, readonly: readonly.contains(&id) })
}

/// The topmost subvolume, which no list has.
fn top(shown: &str) -> Option<Subvolume> {
    let field = |name: &str| shown.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let id = field("Subvolume ID:")?.parse().ok().filter(|id| *id == TOP)?;
    let uuid = field("UUID:").filter(|uuid| *uuid != "-").unwrap_or_default().to_owned();
    let readonly = field("Flags:").is_some_and(|flags| flags.contains("readonly"));
    Some(Subvolume { id, uuid, parent: None, received: None, path: "/".to_owned(), readonly })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Label: none  uuid: ad185f02-fdbb-4a4a-a4eb-9e21dd44fe25
\tTotal devices 1 FS bytes used 192.00KiB
\tdevid    1 size 300.00MiB used 88.00MiB path /dev/loop1

all
ID 256 gen 9 cgen 7 parent 5 top level 5 parent_uuid -                                    received_uuid dc533d7d-bee9-f847-8165-e83ff3401720 uuid 9e2f9aab-8189-b747-98f5-ae1b108ab9c8 path <FS_TREE>/recv/s1
ID 259 gen 13 cgen 13 parent 258 top level 258 parent_uuid f7d42b57-063b-1e4d-9e4a-d58be4042293 received_uuid -                                    uuid ca1030cb-66b3-564d-b465-74c8a6aa228c path c/a path b
readonly
ID 256 gen 9 top level 5 path <FS_TREE>/recv/s1
here
/
\tName: \t\t\t<FS_TREE>
\tUUID: \t\t\tdfcc50fc-288c-477a-939c-7f3ccae594e4
\tParent UUID: \t\t-
\tReceived UUID: \t\t-
\tSubvolume ID: \t\t5
\tFlags: \t\t\t-
";

    #[test]
    fn a_file_system_is_read_with_its_topmost_subvolume() {
        let read = filesystem(TEXT).unwrap();
        assert_eq!(read.uuid, "ad185f02-fdbb-4a4a-a4eb-9e21dd44fe25");
        let paths: Vec<_> = read.subvolumes.iter().map(|one| (one.id, one.path.as_str(), one.readonly)).collect();
        assert_eq!(paths, [(5, "/", false), (256, "/recv/s1", true), (259, "/c/a path b", false)]);
        assert_eq!(read.subvolumes[1].identity(), "dc533d7d-bee9-f847-8165-e83ff3401720");
        assert_eq!(read.subvolumes[2].identity(), "ca1030cb-66b3-564d-b465-74c8a6aa228c");
        assert_eq!(read.subvolumes[2].parent.as_deref(), Some("f7d42b57-063b-1e4d-9e4a-d58be4042293"));
        assert_eq!(read.subvolumes[0].uuid, "dfcc50fc-288c-477a-939c-7f3ccae594e4");
    }

    #[test]
    fn another_subvolume_that_is_shown_is_not_the_topmost() {
        let text = TEXT.replace("Subvolume ID: \t\t5", "Subvolume ID: \t\t256");
        assert_eq!(filesystem(&text).unwrap().subvolumes.len(), 2);
        assert_eq!(filesystem("no btrfs here"), None);
    }
}
