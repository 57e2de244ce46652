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
