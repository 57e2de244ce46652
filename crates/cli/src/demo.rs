//! `reseed demo`: a throw-away primary and standby, seeded and reset before one's eyes.

mod play;
mod size;
mod tell;

use clap::ValueEnum;
use reseed_lab::{LabError, Part, Storage, is_root, missing_parts};
use tokio_util::sync::CancellationToken;

use crate::commands::on_runtime;
use crate::signals::Signals;
use crate::{exit, out};
use play::{Stop, play};
use size::Size;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The storage to show: by default the best that this machine has.
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    /// Print one JSON object on standard output; what is meant for people goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// Leave servers and pools running, and say how to look at them and how to remove them.
    #[arg(long)]
    pub keep: bool,
    /// About how big the database is.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub size: Size,
}

/// The storage to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best that this machine has.
    #[default]
    Auto,
    /// ZFS: the kernel's, or in user space by zfs-fuse.
    Zfs,
    /// btrfs on loop devices.
    Btrfs,
    /// PostgreSQL's own base backup into plain directories: without root and without SSH.
    Basebackup,
}

impl Backend {
    /// The storage that is shown, and why it is this one. ZFS comes first, since it snapshots several
    /// datasets in one act; the base backup comes last, since a full one reads everything.
    fn storage(self) -> (Storage, String) {
        match self {
            Self::Zfs => (Storage::Zfs, "asked for".to_owned()),
            Self::Btrfs => (Storage::Btrfs, "asked for".to_owned()),
            Self::Basebackup => (Storage::Directories, "asked for".to_owned()),
            Self::Auto if !is_root() => (Storage::Directories, "the best without root".to_owned()),
            Self::Auto => best(missing_parts),
        }
    }
}

/// The best storage that has all its parts, and what those before it lack.
fn best(missing: impl Fn(Storage) -> Vec<Part>) -> (Storage, String) {
    let mut lacking = vec![];
    for storage in [Storage::Zfs, Storage::Btrfs] {
        let parts: Vec<_> = missing(storage).iter().map(|part| part.what).collect();
        if parts.is_empty() {
            let why = if lacking.is_empty() { "this machine has it".to_owned() } else { lacking.join("; ") };
            return (storage, why);
        }
        lacking.push(format!("no {}, for lack of {}", storage.name(), parts.join(", ")));
    }
    (Storage::Directories, lacking.join("; "))
}

/// The name by which a storage is asked for.
fn backend_name(storage: Storage) -> &'static str {
    match storage {
        Storage::Zfs => "zfs",
        Storage::Btrfs => "btrfs",
        Storage::Directories => "basebackup",
    }
}

/// The two tokens that Ctrl-C, SIGTERM and SIGHUP cancel, one after the other.
#[derive(Debug, Clone, Default)]
struct Cancel {
    first: CancellationToken,
    second: CancellationToken,
}

/// Plays the demo and gives the exit code. Whatever happens, what it made is removed at the end,
/// unless it is to be kept: first what the run itself takes back, then servers and pools.
pub fn run(args: &DemoArgs) -> u8 {
    let (storage, why) = args.backend.storage();
    if let Some(code) = refuse(storage) {
        return code;
    }
    out::talk(&format!("backend {}: {why}", backend_name(storage)));
    on_runtime(async {
        let cancel = Cancel::default();
        let signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                out::error(&format!("can't catch signals: {error}"), None);
                return exit::FAILED;
            }
        };
        let watch = tokio::spawn(listen(signals, cancel.clone()));
        let played = play(args, storage, &cancel).await;
        watch.abort();
        match played {
            Ok(()) => exit::DONE,
            Err(stop) => told(stop),
        }
    })
}

fn refuse(storage: Storage) -> Option<u8> {
    let missing = missing_parts(storage);
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|part| part.package).collect();
        let names: Vec<_> = missing.iter().map(|part| part.what).collect();
        let hint = format!("`make demo` installs what it needs; by hand: apt-get install {}", packages.join(" "));
        out::error(&format!("missing on this machine: {}", names.join(", ")), Some(&hint));
        return Some(exit::REFUSED);
    }
    if storage != Storage::Directories && !is_root() {
        out::error(
            "pools and servers of other users are root's business",
            Some("sudo reseed demo, or without root: reseed demo --backend basebackup"),
        );
        return Some(exit::REFUSED);
    }
    None
}

async fn listen(mut signals: Signals, cancel: Cancel) {
    signals.next().await;
    out::talk("cancelling: everything is taken back and removed; once more stops taking back");
    cancel.first.cancel();
    signals.next().await;
    cancel.second.cancel();
}

/// Says why it ended early, where nobody has said it yet, and gives the exit code.
fn told(stop: Stop) -> u8 {
    match stop {
        Stop::Lab(error) => lab_failed(&error),
        Stop::Run(code) => code,
        Stop::Disagree(what) => {
            out::error(&what, None);
            exit::FAILED
        }
        Stop::Cancelled => exit::CANCELLED,
    }
}

fn lab_failed(error: &LabError) -> u8 {
    out::error(&error.to_string(), error.hint());
    exit::FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_has_its_parts_is_shown_and_what_the_others_lack_is_told() {
        let lacking = |storages: &'static [Storage]| {
            move |storage: Storage| match storages.contains(&storage) {
                true => vec![Part { what: "a program", package: "x" }],
                false => vec![],
            }
        };
        assert_eq!(best(lacking(&[])), (Storage::Zfs, "this machine has it".to_owned()));
        assert_eq!(best(lacking(&[Storage::Zfs])), (Storage::Btrfs, "no ZFS, for lack of a program".to_owned()));
        let (last, why) = best(lacking(&[Storage::Zfs, Storage::Btrfs]));
        assert_eq!(last, Storage::Directories);
        assert!(why.contains("no ZFS") && why.contains("no btrfs"), "{why}");
    }
}
