//! Processes, by `ps`, which shows their environments in front of or behind their arguments (`-e`).

use super::Seen;
use crate::host::{Command, Host, LocalConfig, LocalHost};

/// Every process but this one; which have this in their environment.
pub(super) async fn all(entry: String) -> Vec<Seen> {
    let host = LocalHost::new("local", &LocalConfig::default());
    let ps = Command::new("ps").args(["-A", "-ww", "-e", "-o", "pid=", "-o", "ppid=", "-o", "sid=", "-o", "args="]);
    let text = (&host as &dyn Host).run(ps).await.unwrap_or_default();
    text.lines().filter_map(|line| read(line, &entry)).filter(|one| one.pid != std::process::id()).collect()
}

/// Whose it is, and when it began, is not asked: what has no mark is not looked for.
fn read(line: &str, entry: &str) -> Option<Seen> {
    let mut fields = line.split_whitespace();
    let mut number = || fields.next()?.parse().ok();
    let (pid, parent, session) = (number()?, number()?, number()?);
    let args: Vec<_> = fields.collect();
    let is_marked = args.contains(&entry);
    let shown = args.into_iter().filter(|word| *word != entry).collect::<Vec<_>>().join(" ");
    Some(Seen { pid, parent, session, is_marked, args: shown, ..Seen::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_told_from_arguments() {
        let entry = "RESEED_PROCESS=0123456789abcdef";
        for line in [format!("  71     1     5 LC_ALL=C {entry} cp /a /b"), format!("71 1 5 cp /a /b {entry} LC_ALL=C")]
        {
            let seen = read(&line, entry).unwrap();
            assert_eq!((seen.pid, seen.parent, seen.session, seen.is_marked), (71, 1, 5, true));
            assert!(seen.args.contains("cp /a /b") && !seen.args.contains(entry), "{}", seen.args);
        }
        assert!(!read("71 1 5 ls /a", entry).unwrap().is_marked);
        assert!(read("PID PPID SID COMMAND", entry).is_none());
    }

    /// Another `ps` shows no environments by this, but all the rest.
    #[tokio::test]
    async fn a_child_is_found_with_its_parent_and_its_session() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let child = host.spawn(&Command::new("sleep").arg("63.25").into()).await.unwrap();
        let all = all(String::new()).await;
        let seen = all.iter().find(|one| one.args == "sleep 63.25").unwrap();
        assert_eq!((seen.parent, seen.session), (std::process::id(), crate::journal::Owner::this().session));
        drop(child);
    }
}
