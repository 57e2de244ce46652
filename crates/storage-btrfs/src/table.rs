//! What is where on a machine: mounts, and the subvolumes that are seen through them. Pure.

use reseed_storage::{Mount, Mounts, below};

use crate::parse::{Filesystem, Mounted, Subvolume};

/// A subvolume and a path under which it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The path.
    pub(crate) path: String,
    /// Identity of its file system.
    pub(crate) filesystem: String,
    /// What it is.
    pub(crate) subvolume: Subvolume,
}

/// Mounts, and the subvolumes of the file systems that were asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    mounts: Vec<Mounted>,
    filesystems: Vec<(String, String)>,
    seen: Vec<Seen>,
}

impl Table {
    /// A table of mounts alone.
    pub(crate) fn new(mounts: Vec<Mounted>) -> Self {
        Self { mounts, ..Self::default() }
    }

    /// The mount that a path lies on.
    pub(crate) fn mount_of(&self, path: &str) -> Option<&Mounted> {
        let above = self.mounts.iter().filter(|mount| below(path, &mount.path).is_some());
        above.max_by_key(|mount| mount.path.len())
    }

    /// Whether something is mounted on exactly this path.
    pub(crate) fn is_mount(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| mount.path == path)
    }

    /// What is mounted in the tree below a path.
    pub(crate) fn mounts_inside(&self, path: &str) -> impl Iterator<Item = &str> {
        let inside =
            self.mounts.iter().filter(move |mount| below(&mount.path, path).is_some_and(|rest| !rest.is_empty()));
        inside.map(|mount| mount.path.as_str())
    }

    /// The btrfs mount of a path, where its file system has not been added yet.
    pub(crate) fn unread(&self, path: &str) -> Option<&Mounted> {
        let mount = self.mount_of(path).filter(|mount| mount.kind == "btrfs")?;
        let known = self.filesystems.iter().any(|(device, _)| *device == mount.device);
        (!known).then_some(mount)
    }

    /// Adds the subvolumes of the file system on a device, under every path where they are seen.
    pub(crate) fn add(&mut self, device: &str, filesystem: Filesystem) {
        for mount in self.mounts.iter().filter(|mount| mount.device == device && mount.kind == "btrfs") {
            for subvolume in &filesystem.subvolumes {
                let Some(rest) = below(&subvolume.path, &mount.root) else { continue };
                let path = match mount.path.trim_end_matches('/') {
                    "" if rest.is_empty() => "/".to_owned(),
                    at => format!("{at}{rest}"),
                };
                // What another mount hides is not seen there.
                let visible = self.mount_of(&path).is_some_and(|nearest| nearest == mount);
                if visible && !self.seen.iter().any(|seen| seen.path == path) {
                    let (filesystem, subvolume) = (filesystem.uuid.clone(), subvolume.clone());
                    self.seen.push(Seen { path, filesystem, subvolume });
                }
            }
        }
        self.filesystems.push((device.to_owned(), filesystem.uuid));
    }

    /// Identity of the file system that a path lies on, where it was added.
    pub(crate) fn filesystem_of(&self, path: &str) -> Option<&str> {
        let device = &self.mount_of(path).filter(|mount| mount.kind == "btrfs")?.device;
        self.filesystems.iter().find(|(known, _)| known == device).map(|(_, uuid)| uuid.as_str())
    }

    /// The subvolume that is seen at exactly this path.
    pub(crate) fn at(&self, path: &str) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.path == path)
    }

    /// Subvolumes seen at a path and in the tree below it.
    pub(crate) fn tree(&self, path: &str) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(move |seen| below(&seen.path, path).is_some())
    }

    /// Subvolumes of a file system, the oldest first, each once.
    pub(crate) fn of<'t>(&'t self, filesystem: &'t str) -> Vec<&'t Seen> {
        let mut all: Vec<_> = self.seen.iter().filter(|seen| seen.filesystem == filesystem).collect();
        all.sort_by_key(|seen| (seen.subvolume.id, seen.path.len()));
        all.dedup_by_key(|seen| seen.subvolume.id);
        all
    }

    /// The table as all storages read it: writable subvolumes are volumes called by their paths. What
    /// is read-only holds no data of a server that runs.
    pub(crate) fn mounts(&self) -> Mounts {
        let mut mounts = Mounts::default();
        for mount in &self.mounts {
            let kind = if mount.kind == "btrfs" { "a part of a subvolume".to_owned() } else { mount.kind.clone() };
            mounts.add(Mount { device: mount.device.clone(), path: mount.path.clone(), kind, ours: false });
        }
        for seen in self.seen.iter().filter(|seen| !seen.subvolume.readonly) {
            let (device, path) = (seen.path.clone(), seen.path.clone());
            mounts.add(Mount { device, path, kind: "btrfs".to_owned(), ours: true });
        }
        mounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::mounted;

    const MOUNTS: &str = "26 1 254:0 / / rw - ext4 /dev/vda rw
48 27 0:44 / /top rw - btrfs /dev/vdb rw
49 27 0:44 /@pg /pg rw - btrfs /dev/vdb rw
50 27 0:44 /@pg/a /bind rw - btrfs /dev/vdb rw
51 27 0:99 / /top/hidden rw - tmpfs tmpfs rw
";

    fn subvolume(id: u64, path: &str, readonly: bool) -> Subvolume {
        Subvolume { id, uuid: format!("u{id}"), parent: None, received: None, path: path.into(), readonly }
    }

    fn table() -> Table {
        let mut table = Table::new(mounted(MOUNTS));
        assert_eq!(table.unread("/pg/data").map(|mount| mount.path.as_str()), Some("/pg"));
        assert!(table.unread("/etc").is_none());
        let subvolumes = vec![
            subvolume(5, "/", false),
            subvolume(256, "/@pg", false),
            subvolume(257, "/@pg/in", false),
            subvolume(258, "/hidden/x", false),
            subvolume(259, "/.reseed/s", true),
        ];
        table.add("/dev/vdb", Filesystem { uuid: "fs".into(), subvolumes });
        assert!(table.unread("/pg/data").is_none());
        table
    }

    #[test]
    fn a_subvolume_is_seen_through_every_mount_above_it() {
        let table = table();
        let paths: Vec<_> = table.seen.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(paths, ["/top", "/top/@pg", "/top/@pg/in", "/top/.reseed/s", "/pg", "/pg/in"]);
        assert_eq!(table.at("/pg/in").map(|seen| seen.subvolume.id), Some(257));
        assert_eq!(table.filesystem_of("/bind/x"), Some("fs"));
        assert_eq!(table.filesystem_of("/top/hidden/x"), None);
        assert_eq!(table.of("fs").iter().map(|seen| seen.subvolume.id).collect::<Vec<_>>(), [5, 256, 257, 259]);
        assert!(table.is_mount("/pg") && !table.is_mount("/pg/in"));
        assert_eq!(table.mounts_inside("/top").collect::<Vec<_>>(), ["/top/hidden"]);
    }

    #[test]
    fn writable_subvolumes_are_volumes_and_parts_of_them_are_not() {
        let mounts = table().mounts();
        let of = |path: &str| mounts.of(path).filter(|mount| mount.ours).map(|mount| mount.device.as_str());
        assert_eq!(of("/pg/data"), Some("/pg"));
        assert_eq!(of("/top/@pg/in/x"), Some("/top/@pg/in"));
        assert_eq!(of("/top/.reseed/s/x"), Some("/top"));
        assert_eq!(of("/bind/x"), None);
        assert_eq!(of("/etc"), None);
    }
}
