//! What this `zfs` can do, read from its own usage text.

/// What a `zfs` program can do beyond what every one can. Detected, never assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features {
    /// One `zfs snapshot` takes several names, atomically within a pool.
    pub(crate) many_snapshots: bool,
    /// `send -L`: blocks beyond 128 KiB as they are.
    pub(crate) large_blocks: bool,
    /// `send -e`: embedded blocks as they are.
    pub(crate) embedded: bool,
    /// `send -c`: compressed blocks as they are.
    pub(crate) compressed: bool,
    /// `send -w`: encrypted blocks as they are.
    pub(crate) raw: bool,
    /// `send -nP`: an estimate that programs can read.
    pub(crate) estimate: bool,
    /// `receive -u`: without mounting.
    pub(crate) unmounted: bool,
    /// `receive -o` and `-x`: with properties.
    pub(crate) receive_properties: bool,
    /// `receive -s`: what arrived before a cut is kept, with a token.
    pub(crate) receive_resumable: bool,
    /// `send -t`: goes on where a token says.
    pub(crate) send_resumes: bool,
    /// `bookmark`.
    pub(crate) bookmarks: bool,
    /// One `zfs set` takes several properties.
    pub(crate) many_properties: bool,
}

impl Features {
    /// Reads the usage text that `zfs` without arguments prints.
    pub(crate) fn read(usage: &str) -> Self {
        let send = flags(usage, "send");
        let (receive, receive_flags) = (lines(usage, "receive"), flags(usage, "receive"));
        let has = |flag: char| send.contains(flag);
        Self {
            many_snapshots: lines(usage, "snapshot").iter().any(|line| line.ends_with("...")),
            large_blocks: has('L'),
            embedded: has('e'),
            compressed: has('c'),
            raw: has('w'),
            estimate: has('n') && has('P'),
            unmounted: receive_flags.contains('u'),
            receive_properties: receive.iter().any(|line| line.contains("[-o ")),
            receive_resumable: receive_flags.contains('s'),
            send_resumes: lines(usage, "send").iter().any(|line| line.contains("-t <receive_resume_token>")),
            bookmarks: !lines(usage, "bookmark").is_empty(),
            many_properties: lines(usage, "set").iter().any(|line| line.contains("<property=value> ...")),
        }
    }

    /// Flags for `zfs send` that both this sender and `receiver` know.
    pub(crate) fn send_flags(&self, receiver: &Features) -> Vec<&'static str> {
        let choices = [
            ("-L", self.large_blocks && receiver.large_blocks),
            ("-e", self.embedded && receiver.embedded),
            ("-c", self.compressed && receiver.compressed),
        ];
        choices.into_iter().filter(|(_, known)| *known).map(|(flag, _)| flag).collect()
    }
}

/// The usage lines of one command.
fn lines<'u>(usage: &'u str, command: &str) -> Vec<&'u str> {
    let words = usage.lines().map(str::trim);
    words.filter(|line| line.strip_prefix(command).is_some_and(|rest| rest.starts_with(' '))).collect()
}

/// The letters of the first bracket of options in a command's first usage line.
fn flags(usage: &str, command: &str) -> String {
    let first = lines(usage, command).first().copied().unwrap_or_default();
    let bracket = first.split_once("[-").and_then(|(_, rest)| rest.split_once(']'));
    bracket.map(|(letters, _)| letters.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUSE: &str = "missing command
usage: zfs command args ...
where 'command' is one of the following:

\tsnapshot [-r] [-o property=value] ... <filesystem@snapname|volume@snapname>
\tsend [-RDp] [-[iI] snapshot] <snapshot>
\treceive [-vnF] <filesystem|volume|snapshot>
\treceive [-vnF] -d <filesystem>
\tset <property=value> <filesystem|volume|snapshot> ...
";

    const OPENZFS: &str = "missing command
usage: zfs command args ...
where 'command' is one of the following:

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\tsend [-DLPbcehnpsVvw] [-i|-I snapshot]
\t     [-R [-X dataset[,dataset]...]]     <snapshot>
\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>
\tsend [-nVvPe] -t <receive_resume_token>
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    <filesystem|volume|snapshot>
\treceive -A <filesystem|volume>
\tbookmark <snapshot|bookmark> <newbookmark>
\tset [-u] <property=value> ... <filesystem|volume|snapshot> ...
";

    #[test]
    fn an_old_zfs_has_none_of_them() {
        assert_eq!(Features::read(FUSE), Features::default());
    }

    #[test]
    fn openzfs_has_them_and_uses_what_the_receiver_has_too() {
        let new = Features::read(OPENZFS);
        assert!(new.many_snapshots && new.raw && new.estimate && new.unmounted && new.receive_properties);
        assert!(new.receive_resumable && new.send_resumes && new.bookmarks && new.many_properties);
        assert_eq!(new.send_flags(&new), ["-L", "-e", "-c"]);
        assert!(new.send_flags(&Features::read(FUSE)).is_empty());
    }
}
