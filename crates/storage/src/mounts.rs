//! The mount table: `/proc/self/mounts` of Linux and `mount -p` of FreeBSD, which agree in form.

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: the volume's name where it is one of the storage's own.
    pub device: String,
    /// Where.
    pub path: String,
    /// The file system's type as the system calls it.
    pub kind: String,
    /// Whether it is a volume of the storage that asks.
    pub ours: bool,
}

impl Mount {
    /// Whether what is in it is gone with the next boot, so that nothing durable lives there.
    pub fn is_volatile(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }
}

/// Everything that is mounted on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads a mount table; `kinds` are the file system's types that are the storage's own. What a
    /// later mount on the same path hides is left out.
    pub fn read(text: &str, kinds: &[&str]) -> Self {
        let mut mounts = Self::default();
        for line in text.lines() {
            let mut fields = line.split_whitespace().map(unescape);
            let (Some(device), Some(path), Some(kind)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let ours = kinds.contains(&kind.as_str());
            mounts.add(Mount { device, path, kind, ours });
        }
        mounts
    }

    /// Adds a mount, which hides what was on its path.
    pub fn add(&mut self, mount: Mount) {
        self.0.retain(|other| other.path != mount.path);
        self.0.push(mount);
    }

    /// The mount that a path lies on: the deepest one above it.
    pub fn of(&self, path: &str) -> Option<&Mount> {
        let above = self.0.iter().filter(|mount| below(path, &mount.path).is_some());
        above.max_by_key(|mount| mount.path.len())
    }

    /// The mount on exactly this path.
    pub fn at(&self, path: &str) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.path == path)
    }

    /// Where a volume is mounted.
    pub fn path_of(&self, volume: &str) -> Option<&str> {
        let mount = self.0.iter().find(|mount| mount.ours && mount.device == volume);
        mount.map(|mount| mount.path.as_str())
    }

    /// Mounts in the tree below a path, the path itself not among them.
    pub fn inside(&self, path: &str) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| below(&mount.path, path).is_some_and(|rest| !rest.is_empty()))
    }

    /// Mounted volumes whose names begin with `volume/`.
    pub fn children(&self, volume: &str) -> impl Iterator<Item = &Mount> {
        let prefix = format!("{volume}/");
        self.0.iter().filter(move |mount| mount.ours && mount.device.starts_with(&prefix))
    }
}

/// What is left of `path` behind `above`: empty where they are the same, else with a `/` in front;
/// `None` where `path` is not in the tree.
pub fn below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(above.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(if rest == "/" { "" } else { rest })
}

/// Blanks and backslashes in the table are written as `\040` and so on.
pub fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten();
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "/dev/vda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
ta /ta fuse.zfs rw,relatime 0 0
ta/pgsql /ta/pgsql fuse.zfs rw 0 0
ta/pgsql/wal /ta/pgsql/wal zfs rw 0 0
ta/odd /srv/a\\040b zfs rw 0 0
/dev/vdb /over ext4 rw 0 0
tb /over zfs rw 0 0
";

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = Mounts::read(TABLE, &["zfs", "fuse.zfs"]);
        let of = |path: &str| mounts.of(path).map(|mount| mount.device.as_str());
        assert_eq!(of("/ta/pgsql/data"), Some("ta/pgsql"));
        assert_eq!(of("/ta/pgsql/wal"), Some("ta/pgsql/wal"));
        assert_eq!(of("/ta/pgsqlish"), Some("ta"));
        assert_eq!(of("/etc"), Some("/dev/vda1"));
        assert_eq!(of("/srv/a b/c"), Some("ta/odd"));
        assert_eq!(of("/over"), Some("tb"));
    }

    #[test]
    fn the_table_of_freebsd_is_read() {
        // In the form of fstab(5), as its mount(8) says of `-p`; not recorded on such a machine.
        let table = "zroot/ROOT/default\t/\t\t\tzfs\trw\t\t0 0\ndevfs\t\t\t/dev\t\t\tdevfs\trw\t\t0 0\n\
                     zroot/pg\t\t/zroot/pg\t\tzfs\trw,noatime\t0 0\n";
        let mounts = Mounts::read(table, &["zfs"]);
        assert_eq!(mounts.of("/zroot/pg/data").map(|mount| mount.device.as_str()), Some("zroot/pg"));
        assert_eq!(mounts.of("/dev/null").map(|mount| mount.ours), Some(false));
        assert_eq!(mounts.path_of("zroot/pg"), Some("/zroot/pg"));
    }

    #[test]
    fn what_is_inside_is_found() {
        let mounts = Mounts::read(TABLE, &["zfs", "fuse.zfs"]);
        let inside: Vec<_> = mounts.inside("/ta").map(|mount| mount.device.as_str()).collect();
        assert_eq!(inside, ["ta/pgsql", "ta/pgsql/wal"]);
        assert_eq!(below("/a/b", "/a"), Some("/b"));
        assert_eq!(below("/a", "/a"), Some(""));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/a", "/"), Some("/a"));
    }
}
