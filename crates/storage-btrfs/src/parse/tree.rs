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
    /// When it was last changed, in seconds since 1970.
    pub(crate) changed_at: u64,
    /// When it was received, in seconds since 1970; 0 where it was not.
    pub(crate) received_at: u64,
}

/// How long the kernel may take to write what a receiver left in memory, in seconds.
const FLUSH: u64 = 600;

impl Root {
    /// Whether it was changed since it was complete, or since the last snapshot of it: reseed takes one
    /// as soon as it has received a copy. Of what others received there may be none; then what the
    /// receiver left in memory was written by later transactions, but not by much later ones.
    pub(crate) fn was_changed(&self) -> bool {
        let complete = self.made.max(self.received).max(self.last_snapshot);
        let flushed = self.received > 0 && self.last_snapshot == 0 && self.changed_at <= self.received_at + FLUSH;
        self.generation > complete && !flushed
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
        // Times have a fraction behind a point.
        words.get(at + 1)?.split('.').next()?.parse::<u64>().ok()
    };
    let facts = [
        (["generation", ""], &mut root.generation),
        (["last_snapshot", "lastsnap"], &mut root.last_snapshot),
        (["otransid", ""], &mut root.made),
        (["rtransid", ""], &mut root.received),
        (["ctime", ""], &mut root.changed_at),
        (["rtime", ""], &mut root.received_at),
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
\t\tctime 1795478247.598764300 (2026-11-23 23:57:27)
\t\trtime 1795478200.584338037 (2026-11-23 23:56:40)
\titem 14 key (256 ROOT_BACKREF 5) itemoff 12903 itemsize 22
\t\troot backref key dirid 257 sequence 2 name s1
";

    #[test]
    fn a_snapshot_is_no_change_but_anything_later_is() {
        let read = roots(TEXT);
        let (changed_at, received_at) = (1_795_478_247, 1_795_478_200);
        let root = Root { id: 256, generation: 9, last_snapshot: 9, made: 7, received: 7, changed_at, received_at };
        assert_eq!(read, [root]);
        assert!(!read[0].was_changed());
        assert!(Root { generation: 10, ..read[0] }.was_changed());
        assert!(!Root { generation: 7, last_snapshot: 0, ..read[0] }.was_changed());
        let never_snapshot = Root { last_snapshot: 0, ..read[0] };
        assert!(!never_snapshot.was_changed());
        assert!(Root { changed_at: received_at + 3600, ..never_snapshot }.was_changed());
        assert!(Root { received: 0, ..never_snapshot }.was_changed());
    }
}
