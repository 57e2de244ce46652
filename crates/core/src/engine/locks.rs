//! One run at a time works on a target: the lock is on the machine that is changed.
//!
//! A small process there holds it, and its standard input is a pipe of ours. When this process dies, or
//! the connection to the machine, the pipe closes and the lock is gone: a stale lock can't exist. The
//! locked file says who holds it, and, where a run died, who held it last.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};

use crate::config::Resources;
use crate::host::{Command, Host, Outlet, Process};
use crate::journal::{Entry, Journals, Owner, Target};
use crate::registry::HostResource;
use crate::stage::{Claim, Run, Stage};
use crate::{Error, Result};

/// Locks the file of the name `$1`, which says `$2` as long, until standard input ends. Where it ends
/// without the word `ended`, the file goes on saying it.
///
/// Each user has files of their own, so that nobody is made to write elsewhere by what another has put
/// there. A run of another user is seen among the processes: `$1` and what it says are the last arguments of
/// the one that holds its lock. Who pretends to be one keeps runs from beginning, and no more. Of two that
/// begin at once, each may see the other and be refused. A run that has just ended may still be seen for a
/// moment.
const LOCK: &str = r#"umask 077
if [ "$(id -u)" = 0 ]; then d=/var/run; [ ! -d /run ] || d=/run; d=$d/reseed-locks
else d=/tmp/reseed-locks-$(id -u); fi
mkdir -p -m 700 -- "$d" && [ -O "$d" ] && [ ! -L "$d" ] || { echo "can't keep locks in $d" >&2; exit 1; }
f=$d/$1; exec 9>>"$f" || exit 1
if command -v flock >/dev/null 2>&1; then flock -n 9; else lockf -s -t 0 9; fi || { cat -- "$f"; exit 45; }
n=$1; w=$2
others() { ps -A -ww -o args= | while IFS= read -r a; do
  case $a in *" $n "?*) a=${a##*" $n "}; [ "$a" = "$w" ] || { printf '%s\n' "$a"; break; };; esac
done; }
i=0; while o=$(others); [ -n "$o" ]; do
  i=$((i + 1)); [ $i -lt 20 ] || { printf '%s\n' "$o"; exit 45; }
  sleep 0.1 2>/dev/null || sleep 1
done
printf 'locked %s %s\n' "$f" "$(cat -- "$f")"
read -r word && [ "$word" = take ] || exit 0
printf '%s\n' "$2" >"$f"; echo taken
read -r word && [ "$word" = ended ] && printf 'ended %s\n' "$2" >"$f"; :"#;
/// Exit status by which the script says that another holds the lock.
const HELD: i32 = 45;

/// The locks that a run holds.
#[derive(Default)]
pub(crate) struct Locks {
    held: Mutex<Vec<Process>>,
}

impl Locks {
    /// Lets go of them; `ended` says that nothing of the run is left on the machines.
    pub(crate) async fn release(&self, ended: bool) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for mut process in held {
            let Some(mut pipe) = process.stdin.take().filter(|_| ended) else { continue };
            // One whose machine is out of reach is gone as it is.
            let told = async {
                pipe.write_all(b"ended\n").await?;
                pipe.shutdown().await
            };
            if told.await.is_ok() {
                drop(pipe);
                let _ = process.handle.wait().await;
            }
        }
    }
}

/// Locks whatever this run will change.
///
/// # Errors
/// A refusal that says who holds it since when, or who died on it; another error where it can't be tried.
pub(super) async fn lock(run: &Run, journals: Option<&dyn Journals>) -> Result<()> {
    let known = |dead: &str| journals.is_some_and(|journals| journals.has_ended(dead));
    for (host, target) in targets(&run.stages) {
        run.undo.book().write(&Entry::Locked(target.clone()))?;
        let held = take(&host, &target, &run.id, |said| match said {
            Said::Nothing | Said::Ended(_) => true,
            Said::Died(dead) => known(dead),
        });
        run.locks.add(held.await?);
    }
    Ok(())
}

/// What a run of these stages changes for good, each once, with its machine.
pub(super) fn targets(stages: &[Arc<dyn Stage>]) -> Vec<(Arc<dyn Host>, Target)> {
    let mut all: Vec<(Arc<dyn Host>, Target)> = Vec::new();
    let inner = stages.iter().flat_map(|stage| stage.branches()).flat_map(|branch| &branch.stages);
    for stage in stages.iter().chain(inner) {
        for Claim { what, host: name_of_host, name } in stage.locks() {
            let target = Target { host: name_of_host, what: what.to_owned(), name };
            if let Some(host) = stage.host().filter(|_| all.iter().all(|(_, known)| *known != target)) {
                all.push((host, target));
            }
        }
    }
    all
}

/// What the lock on a target says, and changes nothing of it.
///
/// # Errors
/// When it can't be looked at.
pub(super) async fn look(host: &Arc<dyn Host>, target: &Target) -> Result<Holder> {
    let run = |said: &str| said.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(match ask(host, target, "").await? {
        Asked::Held(said) => Holder::Live(run(&said)),
        Asked::Free { was, .. } => match Said::read(&was) {
            Said::Died(run) => Holder::Died(run.to_owned()),
            Said::Nothing | Said::Ended(_) => Holder::Nobody,
        },
    })
}

/// Who holds a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody, and nobody has died on it.
    Nobody,
    /// This run, which is alive.
    Live(String),
    /// Nobody; this run has died on it.
    Died(String),
}

impl Locks {
    /// Locks a target in the name of a run, whatever its file says.
    ///
    /// # Errors
    /// When a run is at work on it, and when it can't be tried.
    pub(super) async fn in_the_name_of(&self, run: &str, host: &Arc<dyn Host>, target: &Target) -> Result<()> {
        self.add(take(host, target, run, |_| true).await?);
        Ok(())
    }

    /// Locks what a run that died was working on, for taking it to its end.
    ///
    /// # Errors
    /// When another run works on it, or has since, and when it can't be tried.
    pub(crate) async fn again(&self, dead: &str, targets: &[Target], resources: &Resources) -> Result<()> {
        for target in targets {
            let host = resources.get::<HostResource>("hosts", &target.host)?;
            let held = take(&host.0, target, dead, |said| match said {
                Said::Nothing => true,
                // The ids of runs are in the order of their times.
                Said::Ended(other) => *other <= dead,
                Said::Died(other) => *other == dead,
            });
            self.add(held.await?);
        }
        Ok(())
    }

    fn add(&self, held: Process) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    }
}

/// What a locked file said of the run that held it before.
enum Said<'a> {
    Nothing,
    Ended(&'a str),
    Died(&'a str),
}

impl<'a> Said<'a> {
    fn read(text: &'a str) -> Self {
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            (Some("ended"), Some(run)) => Self::Ended(run),
            (Some(run), _) => Self::Died(run),
            (None, _) => Self::Nothing,
        }
    }
}

/// What the process on the other machine has found.
enum Asked {
    /// Another run has the lock; its file says this.
    Held(String),
    /// The process has the lock, and waits for the word.
    Free { process: Process, lines: Lines<BufReader<Box<dyn Outlet>>>, file: String, was: String },
}

/// Asks for the lock on a target; whoever gets it may say `take`, or leaves all as it was.
async fn ask(host: &Arc<dyn Host>, target: &Target, who: &str) -> Result<Asked> {
    let command = Command::script(LOCK).titled("lock").args([file(target).as_str(), who]).as_root();
    let mut process = host.spawn(&command.into()).await?;
    let stdout = process.stdout.take().ok_or_else(|| Error::failed("the lock has no voice"))?;
    let mut lines = BufReader::new(stdout).lines();
    let said = lines.next_line().await?.unwrap_or_default();
    let Some(rest) = said.strip_prefix("locked ") else {
        let exit = process.handle.wait().await?;
        return match exit.code() {
            Some(HELD) => Ok(Asked::Held(said)),
            _ => Err(exit.success_on(host.name()).err().unwrap_or_else(|| Error::failed(format!("{target}: no lock")))),
        };
    };
    let (file, was) = rest.split_once(' ').unwrap_or((rest, ""));
    Ok(Asked::Free { process, lines, file: file.to_owned(), was: was.to_owned() })
}

/// Locks a target in the name of a run, unless another holds it or what the file says is not `fine`.
async fn take(host: &Arc<dyn Host>, target: &Target, run: &str, fine: impl Fn(&Said<'_>) -> bool) -> Result<Process> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    let who = format!("{run} ({}, since {now})", Owner::this());
    let (mut process, mut lines, file, was) = match ask(host, target, &who).await? {
        Asked::Free { process, lines, file, was } => (process, lines, file, was),
        Asked::Held(said) => {
            let error = Error::refused(format!("another run works on the {target}: {said}"));
            return Err(error.hint("wait for its end"));
        }
    };
    if !fine(&Said::read(&was)) {
        let how = if was.starts_with("ended ") { "another run has worked on" } else { "a run has died at work on" };
        let error = Error::refused(format!("{how} the {target}: {was}"));
        let hint = "where it ran: reseed recover; if nothing is left of it";
        return Err(error.hint(format!("{hint}, on {}: rm {file}", host.name())));
    }
    if let Some(pipe) = process.stdin.as_mut() {
        pipe.write_all(b"take\n").await?;
        pipe.flush().await?;
    }
    match lines.next_line().await?.as_deref() {
        Some("taken") => Ok(process),
        _ => {
            let failed = process.handle.wait().await?.success_on(host.name()).err();
            Err(failed.unwrap_or_else(|| Error::failed(format!("the {target} could not be locked"))))
        }
    }
}

/// The name of a target's file: what it is, as far as a file's name can say it, and a number that tells
/// it from every other one.
fn file(target: &Target) -> String {
    use sha2::{Digest, Sha256};
    let whole = format!("{} {}", target.what, target.name);
    let hash = Sha256::digest(&whole);
    let plain: String = whole.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    format!("{plain}-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::host::{LocalConfig, LocalHost};

    /// A target that nothing else has, and a host to lock it on: each run has connections of its own.
    fn target(name: &str) -> Target {
        let name = format!("/test/{name}/{}", std::process::id());
        Target { host: "local".to_owned(), what: "directory".to_owned(), name }
    }

    fn host() -> Arc<dyn Host> {
        Arc::new(LocalHost::new("local", &LocalConfig::default()))
    }

    async fn begin(target: &Target, run: &str) -> Result<Locks> {
        let locks = Locks::default();
        locks.add(take(&host(), target, run, |said| !matches!(said, Said::Died(_))).await?);
        Ok(locks)
    }

    /// What holds a lock may take a moment to see that its run is gone.
    async fn soon(target: &Target, run: &str, wanted: &str) -> Error {
        let begun = std::time::Instant::now();
        loop {
            match begin(target, run).await {
                Err(error) if error.chain().contains(wanted) => return error,
                other if begun.elapsed().as_secs() > 10 => panic!("{:?}", other.err()),
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn a_second_run_is_told_who_holds_the_lock_and_begins_when_that_has_ended() {
        let target = target("second");
        let first = begin(&target, "r1").await.unwrap();
        let error = begin(&target, "r2").await.err().unwrap();
        assert_eq!(error.class(), Class::Refused);
        let told = error.chain();
        assert!(told.contains("another run works on the directory /test/second"), "{told}");
        assert!(told.contains(&format!("r1 (process {} on ", std::process::id())), "{told}");
        first.release(true).await;
        begin(&target, "r3").await.unwrap().release(true).await;
    }

    /// Files are of one user each; the target is not.
    #[tokio::test]
    async fn a_run_of_another_user_is_seen_by_root_and_sees_root() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root, to be two users");
            return;
        }
        let target = target("users");
        let lock = |who: &str| Command::script(LOCK).args([file(&target).as_str(), who]).as_user("nobody");
        let mut theirs = host().spawn(&lock("r1 (process 1 on h, since then)").into()).await.unwrap();
        let mut lines = BufReader::new(theirs.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().starts_with("locked /tmp/reseed-locks-"));
        let error = begin(&target, "r2").await.err().unwrap();
        assert!(error.chain().ends_with(": r1 (process 1 on h, since then)"), "{}", error.chain());
        assert_eq!(look(&host(), &target).await.unwrap(), Holder::Live("r1".to_owned()));
        drop(theirs);

        let mine = begin(&target, "r3").await.unwrap();
        let refused = host().output(lock("r4 (process 1 on h, since then)")).await.unwrap();
        assert_eq!(refused.exit.code(), Some(HELD));
        assert!(refused.text().starts_with("r3 (process "), "{}", refused.text());
        mine.release(true).await;
    }

    #[tokio::test]
    async fn a_run_that_died_is_noticed_until_it_was_taken_to_its_end() {
        let target = target("died");
        drop(begin(&target, "r1").await.unwrap());
        let error = soon(&target, "r2", "a run has died at work on").await;
        assert!(error.hint_text().unwrap().contains("reseed recover"), "{error:?}");

        let (resources, recovering) = (Resources::local(), Locks::default());
        let other = recovering.again("r0", std::slice::from_ref(&target), &resources).await.unwrap_err();
        assert!(other.chain().contains("r1"), "{}", other.chain());
        recovering.again("r1", std::slice::from_ref(&target), &resources).await.unwrap();
        recovering.release(true).await;
        begin(&target, "r2").await.unwrap().release(true).await;
        // Whoever comes too late does not touch what a later run has made.
        let late = recovering.again("r1", std::slice::from_ref(&target), &resources).await.unwrap_err();
        assert!(late.chain().contains("another run has worked on"), "{}", late.chain());
    }
}
