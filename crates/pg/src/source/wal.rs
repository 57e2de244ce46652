//! The WAL that a backup needs, for copies that are kept and can't stream it from the source.

use std::sync::Arc;

use reseed_core::host::{Command, Host, Job, open};
use reseed_core::item::{FileBeside, FilesBeside};
use reseed_core::stage::CheckCx;
use reseed_core::stream::Deferred;
use reseed_core::{Error, Kind, Result};

use super::backup::start_location;
use super::mode::Choice;
use crate::cluster::Primary;
use crate::facts::{Backup, Layout, Mode, Source};
use crate::lsn::Lsn;

/// Prints the segment `$1`. A server that needs it no more renames it before it writes into it anew, so
/// what still has its name afterwards was whole.
pub(super) const READ: &str = r#"n=$(ls -i -- "$1") || exit 46
cat -- "$1" || exit 46
[ "$(ls -i -- "$1" 2>/dev/null)" = "$n" ] || { echo "$1 has been removed while it was read" >&2; exit 46; }"#;

/// Whether the directory `$1` can be read.
pub(super) const LOOK: &str = r#"[ -r "$1" ] && [ -x "$1" ]"#;

/// Whether what the run takes is kept by someone, for a standby that may not reach the source.
pub(super) fn is_kept(cx: &CheckCx) -> bool {
    let kept = |kind: Option<&Kind>| matches!(kind, Some(Kind::Staged(_)));
    kept(cx.gives().as_ref()) || cx.branches().iter().any(|branch| kept(branch.gives.as_ref()))
}

/// Where the source's WAL is.
fn directory(layout: &Layout) -> String {
    layout.wal_directory.clone().unwrap_or_else(|| format!("{}/pg_wal", layout.data_directory))
}

/// That the source's WAL can be read, where the copy will need it.
///
/// # Errors
/// A refusal.
pub(super) async fn readable(choice: Choice, cx: &CheckCx) -> Result<()> {
    let board = cx.board();
    let (Some(primary), Some(source)) = (board.get::<Primary>(), board.get::<Source>()) else { return Ok(()) };
    if choice.mode != Mode::Backup || !is_kept(cx) {
        return Ok(());
    }
    let (host, directory) = (&primary.0.host, directory(&source.layout));
    let look = Command::script(LOOK).arg(&directory).as_root();
    if host.output(look).await?.exit.success() {
        return Ok(());
    }
    let name = host.name();
    Err(Error::refused(format!(
        "may not read {directory} on {name}, and a copy in backup mode needs the WAL from its begin to its end"
    ))
    .hint(format!("give [hosts.{name}] `become = \"sudo\"`, or run it on {name} as root")))
}

/// The segments from the begin of a backup to its end, each to be read as often as it is asked for.
///
/// # Errors
/// When the backup does not tell where it begins and ends.
pub(super) fn beside(backup: &Backup, source: &Source, host: &Arc<dyn Host>) -> Result<FilesBeside> {
    let unknown = || Error::failed("the backup does not tell where it begins and ends");
    let label = backup.label.as_deref().ok_or_else(unknown)?;
    let stop: Lsn = backup.proof_lsn.as_deref().ok_or_else(unknown)?.parse()?;
    let timeline = timeline(label).ok_or_else(unknown)?;
    let names = segments(timeline, start_location(label)?, stop, source.wal_segment_size);
    let directory = directory(&source.layout);
    Ok(FilesBeside(names.into_iter().map(|name| file(host, &directory, name)).collect()))
}

fn file(host: &Arc<dyn Host>, directory: &str, name: String) -> FileBeside {
    let job = Job::from(Command::script(READ).arg(format!("{directory}/{name}")).as_root());
    let host = Arc::clone(host);
    let open = move || {
        let (host, job) = (Arc::clone(&host), job.clone());
        Deferred::boxed(async move { open(host.as_ref(), &job).await })
    };
    FileBeside { name, open: Arc::new(open) }
}

/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`: the file's name begins with it.
fn timeline(label: &str) -> Option<u32> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    let (_, name) = line.split_once("(file ")?;
    u32::from_str_radix(name.get(..8)?, 16).ok()
}

/// Names of the segments of this many bytes that hold what is from `start` up to `stop`.
fn segments(timeline: u32, start: Lsn, stop: Lsn, size: u64) -> Vec<String> {
    let size = size.max(1);
    let last = stop.0.saturating_sub(1) / size;
    let in_log = ((1u64 << 32) / size).max(1);
    let name = |number: u64| format!("{timeline:08X}{:08X}{:08X}", number / in_log, number % in_log);
    (start.0 / size..=last.max(start.0 / size)).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(start: &str, stop: &str) -> Vec<String> {
        segments(2, start.parse().unwrap(), stop.parse().unwrap(), 16 << 20)
    }

    #[test]
    fn segments_are_those_from_the_begin_to_the_end() {
        assert_eq!(named("0/2000028", "0/2000138"), ["000000020000000000000002"]);
        assert_eq!(named("0/2000028", "0/3000000"), ["000000020000000000000002"], "the end is where a segment ends");
        let across = ["0000000200000001000000FF", "000000020000000200000000"];
        assert_eq!(named("1/FF000028", "2/100"), across);
    }

    #[test]
    fn the_timeline_is_in_the_label() {
        let label = "START WAL LOCATION: 1A/2000028 (file 0000000B0000001A00000002)\nLABEL: x\n";
        assert_eq!((timeline(label), timeline("LABEL: x\n")), (Some(11), None));
    }
}
