//! `reseed demo`: a throw-away primary and standby, seeded and reset before one's eyes.

mod play;
mod size;
mod tell;

use clap::ValueEnum;
use reseed_lab::{LabError, Storage, is_root, missing_parts};
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
}

impl Backend {
    /// The storage that is shown. ZFS comes first, since it snapshots several datasets in one act.
    fn storage(self) -> Storage {
        match self {
            Self::Zfs => Storage::Zfs,
            Self::Btrfs => Storage::Btrfs,
            Self::Auto => {
                let all = [Storage::Zfs, Storage::Btrfs];
                all.into_iter().find(|storage| missing_parts(*storage).is_empty()).unwrap_or_default()
            }
        }
    }
}

/// The name by which a storage is asked for.
fn backend_name(storage: Storage) -> &'static str {
    match storage {
        Storage::Zfs => "zfs",
        Storage::Btrfs => "btrfs",
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
    let storage = args.backend.storage();
    if let Some(code) = refuse(storage) {
        return code;
    }
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
    if !is_root() {
        out::error("pools and servers of other users are root's business", Some("sudo reseed demo"));
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
