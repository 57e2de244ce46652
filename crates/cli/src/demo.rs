//! `reseed demo`: a throw-away primary and standby, seeded and reset before one's eyes.

mod play;
mod size;
mod staged;
mod tell;

use clap::ValueEnum;
use reseed_lab::{LabError, Part, Seaweed, Storage, is_root, missing_parts};
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
    /// The way from primary to standby: straight, or through a repository from which at last a standby is
    /// seeded with the primary stopped.
    #[arg(long, value_enum, default_value_t)]
    pub via: Via,
    /// Print one JSON object on standard output; what is meant for people goes to standard error.
    ///
    /// It has `backend`; `seed` and `reset`, each as the event `run.finished`; `rows_primary`, `rows_standby` and
    /// `streaming`. With `--via` also `via`; `puts`, the three runs that put, the whole first; and `alone`, the
    /// standby that was seeded with the primary stopped: `seed`, `rows` and `serving`.
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

/// The way from primary to standby.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// Straight, over SSH where the storage needs it.
    #[default]
    Direct,
    /// Put into a bucket of an S3 server (SeaweedFS), and got from there.
    S3,
    /// Put into a directory, and got from there.
    File,
}

impl Via {
    /// How the repository is called, where there is one.
    fn repository(self) -> Option<&'static str> {
        match self {
            Self::Direct => None,
            Self::S3 => Some("s3"),
            Self::File => Some("file"),
        }
    }
}

impl Backend {
    /// The storage that is shown, and why it is this one. ZFS comes first, since it snapshots several
    /// datasets in one act; the base backup comes last, since a full one reads everything, and is no
    /// choice where snapshots are put into a repository.
    fn storage(self, via: Via) -> (Storage, String) {
        match self {
            Self::Zfs => (Storage::Zfs, "asked for".to_owned()),
            Self::Btrfs => (Storage::Btrfs, "asked for".to_owned()),
            Self::Basebackup => (Storage::Directories, "asked for".to_owned()),
            Self::Auto if via != Via::Direct => match best(missing_parts) {
                (Storage::Directories, lacking) => (Storage::Zfs, lacking),
                found => found,
            },
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
    let (storage, why) = args.backend.storage(args.via);
    if let Some(code) = refuse(storage, args.via) {
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

fn refuse(storage: Storage, via: Via) -> Option<u8> {
    if storage == Storage::Directories && via != Via::Direct {
        out::error(
            "a base backup goes from server to server: the demo puts only snapshots into a repository",
            Some("take --backend zfs or --backend btrfs, or leave --via out"),
        );
        return Some(exit::WRONG);
    }
    if let Some((what, hint)) = lacking(&missing_parts(storage), via) {
        out::error(&format!("missing on this machine: {what}"), Some(&hint));
        return Some(exit::REFUSED);
    }
    if storage != Storage::Directories && !is_root() {
        let hint = match via {
            Via::Direct => "sudo reseed demo, or without root: reseed demo --backend basebackup",
            Via::S3 | Via::File => "run it with sudo",
        };
        out::error("pools and servers of other users are root's business", Some(hint));
        return Some(exit::REFUSED);
    }
    None
}

/// What this machine lacks for a demo, and how to get it.
fn lacking(missing: &[Part], via: Via) -> Option<(String, String)> {
    let server = (via == Via::S3).then(Seaweed::missing).flatten();
    let names: Vec<_> = missing.iter().chain(&server).map(|part| part.what).collect();
    let packages: Vec<_> = missing.iter().map(|part| part.package).collect();
    let mut by_hand = vec![];
    by_hand.extend((!packages.is_empty()).then(|| format!("apt-get install {}", packages.join(" "))));
    by_hand.extend(server.is_some().then(|| "make seaweedfs".to_owned()));
    let hint = format!("`make demo` installs what it needs; by hand: {}", by_hand.join("; "));
    (!names.is_empty()).then(|| (names.join(", "), hint))
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
