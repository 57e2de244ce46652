//! What cleans up after a lab, whatever happens to the process that made it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use reseed_core::host::shell_quote;

use crate::process::{Tool, write};
use crate::{LabError, Result};

/// Reads commands, one a line; at the end of its input it runs them, the last one first. The line
/// `keep` makes it go without doing anything.
const SCRIPT: &str = r#"trap '' INT TERM HUP
all=
while IFS= read -r line; do
  [ "$line" != keep ] || exit 0
  all="$line
$all"
done
printf '%s' "$all" | while IFS= read -r line; do sh -c "$line" </dev/null; done"#;

/// A process that waits for the end of a lab and then cleans up: after a `Drop`, a panic, Ctrl-C and
/// `kill -9` alike.
#[derive(Debug)]
pub struct Guard {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Child,
    lines: Vec<String>,
}

impl Guard {
    /// Starts a guard that removes `directory` last.
    pub(crate) fn watch(directory: &Path) -> Result<Self> {
        let process = Tool::new("sh").args(["-c", SCRIPT]).start()?;
        let guard = Self { state: Mutex::new(State { process, lines: vec![] }) };
        guard.add(&format!("rm -rf --one-file-system -- {}", shell_quote(&directory.to_string_lossy())))?;
        Ok(guard)
    }

    /// Adds a shell command of one line, to be run before all that were added earlier. Add it before
    /// the act that it takes back.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn add(&self, command: &str) -> Result<()> {
        let line = command.replace('\n', "; ");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.push(line.clone());
        state.tell(&line)
    }

    /// Lets the guard go without cleaning up; gives the script that does what it would have done.
    pub(crate) fn keep(&self, directory: &Path) -> Result<PathBuf> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tell("keep")?;
        let lines: Vec<_> = state.lines.iter().rev().cloned().collect();
        let script = directory.join("remove.sh");
        write(&script, &format!("#!/bin/sh\n{}\n", lines.join("\n")), 0o755)?;
        Ok(script)
    }
}

impl State {
    fn tell(&mut self, line: &str) -> Result<()> {
        let Some(pipe) = self.process.stdin.as_mut() else { return Ok(()) };
        writeln!(pipe, "{line}").map_err(LabError::io("telling the lab's guard"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(state.process.stdin.take());
        let _ = state.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use crate::Lab;

    #[test]
    fn the_last_thing_added_is_taken_back_first() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let lab = Lab::new().unwrap();
        let directory = lab.directory().to_owned();
        for word in ["first", "second"] {
            lab.guard().add(&format!("echo {word} >> {}", log.path().display())).unwrap();
        }
        assert!(directory.exists());
        drop(lab);
        assert!(!directory.exists());
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "second\nfirst\n");
    }

    #[test]
    fn what_is_kept_can_be_removed_by_the_script() {
        let lab = Lab::new().unwrap();
        let directory = lab.directory().to_owned();
        let script = lab.keep().unwrap();
        assert!(directory.exists());
        crate::Tool::new("sh").arg(script.to_string_lossy()).run().unwrap();
        assert!(!directory.exists());
    }
}
