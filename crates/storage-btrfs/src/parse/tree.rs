//! The roots of subvolumes, as `btrfs inspect-internal dump-tree -t root` prints them: the only place
//! that tells by which transaction a subvolume was last changed, and by which one it was received.

/// Transactions of one subvolume. A snapshot of it counts as a change of its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Root {
    /// Its id.
    pub(crate) id: u64,
    /// The last one that changed it.
    pub(crate) generation: u64,
    /// The last one that took a snapshot of it.
    pub(crate) last_snapshot: u64,
    /// The one that made it.
    pub(crate) made: u64,
    /// The one that finished receiving it; 0 where it was not received.
    pub(crate) received: u64,
}

impl Root {
    /// Whether it was changed since it was complete.
    pub(crate) fn was_changed(&self) -> bool {
        self.generation > self.made.max(self.received).max(self.last_snapshot)
    }
}

/// Reads the roots of all subvolumes.
pub(crate) fn roots(text: &str) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim) {
        if let Some((_, item)) = line.strip_prefix("item ").and_then(|item| item.split_once(" key (")) {
            let mut words = item.split(' ');
            let id = words.next().and_then(|id| id.parse().ok());
            open = words.next() == Some("ROOT_ITEM") && id.is_some();
            if let (true, Some(id)) = (open, id) {
                roots.push(Root { id, ..Root::default() });
            }
        } else if let (true, Some(root)) = (open, roots.last_mut()) {
            detail(root, line);
        }
    }
    roots
}

/// A line is names and values in turn.
fn detail(root: &mut Root, line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let facts = [
        (["generation", ""], &mut root.generation),
        (["last_snapshot", "lastsnap"], &mut root.last_snapshot),
        (["otransid", ""], &mut root.made),
        (["rtransid", ""], &mut root.received),
    ];
    for (names, fact) in facts {
        if let Some(value) = names.into_iter().find_map(after) {
            *fact = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "btrfs-progs v6.2
root tree
leaf 30965760 items 24 free space 9870 generation 12 owner ROOT_TREE
\titem 12 key (FS_TREE ROOT_ITEM 0) itemoff 12925 itemsize 439
\t\tgeneration 99 root_dirid 256 bytenr 30703616 byte_limit 0 bytes_used 16384
\titem 13 key (256 ROOT_ITEM 0) itemoff 12925 itemsize 439
\t\tgeneration 9 root_dirid 256 bytenr 30703616 byte_limit 0 bytes_used 16384
\t\tlast_snapshot 9 flags 0x1(RDONLY) refs 1
\t\tdrop_progress key (0 UNKNOWN.0 0) drop_level 0
\t\tlevel 0 generation_v2 9
\t\tuuid 9e2f9aab-8189-b747-98f5-ae1b108ab9c8
\t\tctransid 9 otransid 7 stransid 7 rtransid 7
\titem 14 key (256 ROOT_BACKREF 5) itemoff 12903 itemsize 22
\t\troot backref key dirid 257 sequence 2 name s1
";

    #[test]
    fn a_snapshot_is_no_change_but_anything_later_is() {
        let read = roots(TEXT);
        assert_eq!(read, [Root { id: 256, generation: 9, last_snapshot: 9, made: 7, received: 7 }]);
        assert!(!read[0].was_changed());
        assert!(Root { generation: 10, ..read[0] }.was_changed());
        assert!(!Root { generation: 7, last_snapshot: 0, ..read[0] }.was_changed());
    }
}
