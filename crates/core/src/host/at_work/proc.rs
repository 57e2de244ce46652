//! Processes, by proc(5).

use std::os::unix::fs::MetadataExt;

use super::Seen;

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
    let stat = Stat::read(&std::fs::read_to_string(path("stat")).ok()?)?;
    let args = String::from_utf8_lossy(&std::fs::read(path("cmdline")).ok()?).into_owned();
    let environment = std::fs::read(path("environ")).unwrap_or_default();
    let user = std::fs::metadata(path("")).ok()?.uid();
    Some(Seen {
        pid,
        parent: stat.parent,
        session: stat.session,
        started: stat.started,
        is_others: user != rustix::process::geteuid().as_raw(),
        is_marked: environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes()),
        args: args.trim_end_matches('\0').replace('\0', " "),
    })
}

/// What is read of `stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    session: u32,
    started: u64,
}

impl Stat {
    /// The second field is a name that may hold anything. `None` for a process that has ended.
    fn read(stat: &str) -> Option<Self> {
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let (parent, session, started) = (fields.get(1)?, fields.get(3)?, fields.get(19)?);
        Some(Self { parent: parent.parse().ok()?, session: session.parse().ok()?, started: started.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is_and_one_that_has_ended_is_none() {
        let stat = "7 (a) Z (c) S 3 7 5 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(Stat::read(stat), Some(Stat { parent: 3, session: 5, started: 4711 }));
        assert_eq!(Stat::read(&stat.replace(") S ", ") Z ")), None);
        assert_eq!(Stat::read("nonsense"), None);
    }
}
