//! Processes, by proc(5).

use std::os::unix::fs::MetadataExt;

use super::Seen;
use crate::host::stat::Stat;

/// Every process but this one and those that only wait to be reaped; which have this in their environment.
pub(super) async fn all(entry: String) -> Vec<Seen> {
    let look = move || {
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|one| one.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| look(pid, &entry)).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// `None` where it has gone meanwhile.
fn look(pid: u32, entry: &str) -> Option<Seen> {
    let path = |file: &str| format!("/proc/{pid}/{file}");
    let stat = Stat::of(pid)?;
    let args = String::from_utf8_lossy(&std::fs::read(path("cmdline")).ok()?).into_owned();
    let environment = std::fs::read(path("environ")).unwrap_or_default();
    let user = std::fs::metadata(path("")).ok()?.uid();
    Some(Seen {
        pid,
        parent: stat.parent,
        session: stat.session,
        began: stat.began,
        is_others: user != rustix::process::geteuid().as_raw(),
        is_marked: environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes()),
        args: args.trim_end_matches('\0').replace('\0', " "),
    })
}
