//! What a process that is gone has still at work on this machine.

use std::collections::HashMap;

use super::mark::{VARIABLE, is_mark};
use crate::names::in_one_line;

#[cfg(target_os = "linux")]
mod proc;
// Where there is `/proc`, it is only tried.
#[cfg(any(test, not(target_os = "linux")))]
mod ps;
#[cfg(target_os = "linux")]
use proc as system;
#[cfg(not(target_os = "linux"))]
use ps as system;

/// Characters of a command that are shown.
const SHOWN: usize = 200;

/// What is known of a process that is gone.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    pub(crate) mark: String,
    /// Its session. A server that one of its commands left behind has made one of its own.
    pub(crate) session: u32,
    /// When it began, in clock ticks since the machine was booted.
    pub(crate) began: u64,
}

/// A process that is there.
#[derive(Debug, Default)]
struct Seen {
    pid: u32,
    parent: u32,
    session: u32,
    /// In clock ticks since the machine was booted.
    began: u64,
    /// Whether it runs as another user than this process.
    is_others: bool,
    /// Its arguments.
    args: String,
    /// Whether the mark that is looked for is in its environment, as far as that may be read.
    is_marked: bool,
}

/// The commands that it has still at work here, as they are shown to a person.
pub(crate) async fn at_work(traces: &Traces) -> Vec<String> {
    if !is_mark(&traces.mark) {
        return vec![];
    }
    let all = system::all(entry(&traces.mark)).await;
    let mut found: Vec<_> = of(traces, &all).map(|one| in_one_line(&one.args, SHOWN)).collect();
    found.sort();
    found.dedup();
    found
}

/// Those of all that are the process's own. What `sudo` or `doas` made another user's shows its environment
/// to nobody: that is known by its session, and by having lost the process that waited for it.
fn of<'a>(traces: &'a Traces, all: &'a [Seen]) -> impl Iterator<Item = &'a Seen> {
    let sessions: HashMap<_, _> = all.iter().map(|one| (one.pid, one.session)).collect();
    let is_lost = move |one: &Seen| one.parent == 1 || sessions.get(&one.parent) != Some(&traces.session);
    all.iter().filter(move |one| {
        // Session 0 is one that nobody here is in: kernel threads are.
        let may_be = one.is_others && traces.session != 0 && one.began >= traces.began;
        let is_child = one.is_marked || may_be && is_lost(one);
        one.session == traces.session && is_child
    })
}

/// How an environment says that its process is one of this mark.
fn entry(mark: &str) -> String {
    format!("{VARIABLE}={mark}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Command, Host, LocalConfig, LocalHost, mark};

    fn seen(pid: u32, parent: u32, session: u32) -> Seen {
        Seen { pid, parent, session, began: 50, args: pid.to_string(), ..Seen::default() }
    }

    /// The process was number 10, in the session 5, and began at 40.
    #[test]
    fn its_own_are_told_from_servers_and_from_others() {
        let all = [
            seen(5, 1, 5),
            Seen { is_marked: true, ..seen(11, 1, 5) },
            Seen { is_marked: true, ..seen(12, 1, 12) },
            Seen { is_marked: true, ..seen(13, 12, 12) },
            Seen { is_others: true, ..seen(14, 1, 5) },
            Seen { is_others: true, ..seen(15, 14, 5) },
            Seen { is_others: true, ..seen(16, 5, 5) },
            Seen { is_others: true, began: 30, ..seen(17, 1, 5) },
            Seen { is_others: true, ..seen(18, 1, 18) },
            Seen { is_others: true, ..seen(19, 3, 5) },
        ];
        let traces = Traces { mark: "0123456789abcdef".to_owned(), session: 5, began: 40 };
        let found: Vec<_> = of(&traces, &all).map(|one| one.pid).collect();
        assert_eq!(found, [11, 14, 19]);
    }

    #[tokio::test]
    async fn what_this_process_has_started_is_found_and_a_server_is_not() {
        let session = crate::journal::Owner::this().session;
        let traces = Traces { mark: mark().to_owned(), session, began: u64::MAX };
        let host = LocalHost::new("local", &LocalConfig::default());
        let start = async |script| {
            let mut process = host.spawn(&Command::script(script).into()).await.unwrap();
            let mut line = [0; 8];
            tokio::io::AsyncReadExt::read(process.stdout.as_mut().unwrap(), &mut line).await.unwrap();
            process
        };
        let server = start("exec setsid sh -c 'echo up; exec sleep 61.25'").await;
        let act = start("echo up; exec sleep 60.25").await;
        let found = at_work(&traces).await;
        assert!(found.iter().any(|args| args == "sleep 60.25"), "{found:?}");
        assert!(!found.iter().any(|args| args.contains("61.25")), "{found:?}");
        drop((server, act));
        let other = Traces { mark: "0123456789abcdef".to_owned(), ..traces };
        assert_eq!(at_work(&other).await, Vec::<String>::new());
    }
}
