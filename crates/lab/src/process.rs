//! Programs that the lab runs. The one file here that starts processes.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reseed_core::host::shell_quote;

use crate::{LabError, Result, is_root};

/// How long a condition is waited for between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A user of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Looks a user up by name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(LabError::io("reading /etc/passwd"))?;
        let found = passwd.lines().find_map(|line| Self::parse(line).filter(|user| user.name == name));
        found.ok_or_else(|| LabError::Missing {
            what: format!("the user {name}"),
            hint: format!("useradd --system --create-home {name}"),
        })
    }

    /// Who runs the lab's servers: `postgres`, or who runs the lab where that is not root.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn of_servers() -> Result<Self> {
        if is_root() {
            return Self::named("postgres");
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let id = Tool::new("id").arg("-un").run()?;
        Ok(Self { name: id.trim().to_owned(), uid, gid })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid })
    }

    /// Makes the user the owner of a path.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn own(&self, path: &Path) -> Result<()> {
        let owned = std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid));
        owned.map_err(LabError::io(format!("giving {} to {}", path.display(), self.name)))
    }
}

/// One call of a program, with the user and the place that it runs as and in.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
    args: Vec<String>,
    user: Option<User>,
    directory: PathBuf,
    env: Vec<(String, String)>,
}

impl Tool {
    /// A program by name or path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec![], user: None, directory: "/".into(), env: vec![] }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Runs as this user.
    pub fn as_user(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Runs in this directory.
    pub fn current_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Adds a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it to its end and gives how it ended, whatever that is.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn output(&self) -> Result<Output> {
        self.command(Stdio::null()).output().map_err(|error| self.not_started(error))
    }

    /// Runs it to its end and gives what it printed.
    ///
    /// # Errors
    /// When it can't be started or exits other than 0.
    pub fn run(&self) -> Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Command { command: self.shown(), how: output.status.to_string(), said });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it and leaves it running, its standard input open and its output thrown away.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self) -> Result<Child> {
        let mut command = self.command(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| self.not_started(error))
    }

    #[expect(clippy::disallowed_methods, reason = "the lab's parts stand beside the engine, not in a run of it")]
    fn command(&self, input: Stdio) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(input).current_dir(&self.directory);
        // A process group of its own: Ctrl-C is for the demo, which ends things in order.
        command.process_group(0).env("LC_ALL", "C").env("PATH", search_path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn shown(&self) -> String {
        let words = self.args.iter().map(|arg| shell_quote(arg));
        std::iter::once(shell_quote(&self.program.to_string_lossy())).chain(words).collect::<Vec<_>>().join(" ")
    }

    fn not_started(&self, error: std::io::Error) -> LabError {
        let program = self.program.display();
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                LabError::Missing { what: format!("the program {program}"), hint: format!("install {program}") }
            }
            _ => LabError::io(format!("starting {program}"))(error),
        }
    }
}

/// The PATH and the places where administration programs live.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
}

/// Where a program is, if it is anywhere.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = search_path();
    path.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

/// Sets the permission bits of a path.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set.map_err(LabError::io(format!("setting the mode of {}", path.display())))
}

/// Writes a file with these permission bits.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    std::fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))?;
    set_mode(path, mode)
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(LabError::io(format!("making {}", path.display())))
}

/// Waits until `look` says yes.
///
/// # Errors
/// When it does not within `limit`, or `look` fails.
pub(crate) fn wait_until(what: &str, limit: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !look()? {
        if begun.elapsed() > limit {
            return Err(LabError::Late { what: what.to_owned(), seconds: limit.as_secs() });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_its_line() {
        let user = User::parse("postgres:x:104:110:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((user.name.as_str(), user.uid, user.gid), ("postgres", 104, 110));
        assert_eq!(User::parse("broken"), None);
    }

    #[test]
    fn a_failure_says_what_was_run_and_what_it_said() {
        let error = Tool::new("sh").args(["-c", "echo no luck >&2; exit 3"]).run().unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'echo no luck >&2; exit 3'` exit status: 3: no luck");
    }
}
