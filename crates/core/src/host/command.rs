//! Commands as argument vectors, and jobs of several commands connected by pipes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OnDrop;
use super::heard::Listener;
use crate::Result;

/// How a host runs what needs root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Become {
    /// `sudo -n`
    Sudo,
    /// `doas -n`
    Doas,
}

/// Arguments of `sh` in front of a script's own: `-c`, the text, and the name.
const SCRIPT_ARGS: usize = 3;

/// As whom a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum RunAs {
    #[default]
    Login,
    Root,
    User(String),
}

/// One program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: String,
    args: Vec<String>,
    run_as: RunAs,
    within: Vec<Command>,
    title: Option<&'static str>,
    on_drop: OnDrop,
    listener: Option<Listener>,
}

impl Command {
    /// A program by name or path.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            run_as: RunAs::Login,
            within: Vec::new(),
            title: None,
            on_drop: OnDrop::End,
            listener: None,
        }
    }

    /// A fixed POSIX shell script. Data goes into `$1`, `$2` … by [`arg`](Self::arg), never into the text.
    pub fn script(text: &'static str) -> Self {
        // A short one tells more than any name for it.
        let title = text.contains('\n').then_some("a script");
        Self { title, ..Self::new("sh").args(["-c", text, "sh"]) }
    }

    /// What a script is called where commands are shown, in place of its text.
    pub fn titled(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Makes this a short act that must not be cut in half: when its process is dropped, it is left
    /// to finish.
    pub fn to_its_end(mut self) -> Self {
        self.on_drop = OnDrop::Finish;
        self
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

    /// Runs as root where the login user is another and the host has a `become`.
    pub fn as_root(mut self) -> Self {
        self.run_as = RunAs::Root;
        self
    }

    /// Runs as this user, if the login user is another.
    pub fn as_user(mut self, user: impl Into<String>) -> Self {
        self.run_as = RunAs::User(user.into());
        self
    }

    /// Makes this a command that runs a job itself: after its own arguments it is given one with the
    /// number of words of each of the job's commands, separated by commas, and then all these words.
    pub fn running(mut self, job: Job) -> Self {
        self.within = job.steps;
        self
    }

    /// Tells `hear` what its job wrote to standard error, which may be nothing, when every command of
    /// the job has ended well. Others of the same job may have said a part of it: not every host can
    /// tell them apart. An error of `hear` fails the job.
    pub fn heard_by(mut self, hear: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Self {
        self.listener = Some(Listener::new(hear));
        self
    }

    pub(super) fn listeners(&self) -> Vec<Listener> {
        let within = self.within.iter().flat_map(Self::listeners);
        self.listener.iter().cloned().chain(within).collect()
    }

    pub(super) fn title(&self) -> Option<&'static str> {
        self.title
    }

    /// One more command at the end of the job that this one runs.
    pub(super) fn with_one_more(mut self, step: Command) -> Self {
        self.within.push(step);
        self
    }

    /// The program's name as it was given.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The argument vector for a login user `login` on a host with this `become`.
    pub fn argv(&self, login: &str, become_: Option<Become>) -> Vec<String> {
        let mut argv: Vec<String> = match (&self.run_as, become_) {
            (RunAs::Login, _) => vec![],
            (RunAs::Root, _) if login == "root" => vec![],
            (RunAs::User(user), _) if login == user => vec![],
            // Without a `become`, what needs root is tried as it is: rights may be delegated.
            (RunAs::Root, None) => vec![],
            (RunAs::Root, Some(Become::Sudo)) => strings(&["sudo", "-n", "--"]),
            (RunAs::Root, Some(Become::Doas)) => strings(&["doas", "-n", "--"]),
            (RunAs::User(user), Some(Become::Sudo)) => strings(&["sudo", "-n", "-u", user, "--"]),
            (RunAs::User(user), Some(Become::Doas)) => strings(&["doas", "-n", "-u", user, "--"]),
            (RunAs::User(user), None) if login == "root" => root_to_user(user),
            (RunAs::User(_), None) => vec![],
        };
        argv.push(self.program.clone());
        argv.extend(self.args.iter().cloned());
        if !self.within.is_empty() {
            let within: Vec<_> = self.within.iter().map(|step| step.argv(login, become_)).collect();
            let counts: Vec<_> = within.iter().map(|argv| argv.len().to_string()).collect();
            argv.push(counts.join(","));
            argv.extend(within.into_iter().flatten());
        }
        argv
    }
}

/// The words of each command of a job, from what [`Command::running`] makes of it: the numbers of words,
/// separated by commas, and the words. `None` where they do not add up.
pub fn split_job(words: &[String]) -> Option<Vec<Vec<String>>> {
    let (counts, mut words) = words.split_first()?;
    let mut steps = Vec::new();
    for count in counts.split(',') {
        let count = count.parse().ok().filter(|count| (1..=words.len()).contains(count))?;
        let (step, rest) = words.split_at(count);
        steps.push(step.to_vec());
        words = rest;
    }
    words.is_empty().then_some(steps)
}

/// `runuser` where there is one (Linux), else `su` (FreeBSD); the script is fixed.
fn root_to_user(user: &str) -> Vec<String> {
    let script = r#"u=$1; shift
command -v runuser >/dev/null 2>&1 && exec runuser -u "$u" -- "$@"
exec su -m "$u" -c 'exec "$0" "$@"' "$@""#;
    strings(&["sh", "-c", script, "sh", user])
}

fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = match self.title {
            Some(title) => {
                f.write_str(title)?;
                self.args.get(SCRIPT_ARGS..).unwrap_or_default()
            }
            None => {
                f.write_str(&shell_quote(&self.program))?;
                &self.args
            }
        };
        args.iter().try_for_each(|arg| write!(f, " {}", shell_quote(arg)))?;
        match self.within.is_empty() {
            true => Ok(()),
            false => write!(f, " {{ {} }}", Job { steps: self.within.clone() }),
        }
    }
}

/// Quotes one argument for a POSIX shell.
pub fn shell_quote(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        return arg.to_owned();
    }
    format!("'{}'", arg.replace('\'', r"'\''"))
}

/// Commands connected by pipes, the first one reading the job's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    steps: Vec<Command>,
}

impl Job {
    /// A job of several commands; there must be at least one.
    pub fn pipe(steps: Vec<Command>) -> Self {
        assert!(!steps.is_empty(), "a job has at least one command");
        Self { steps }
    }

    /// The commands in order.
    pub fn steps(&self) -> &[Command] {
        &self.steps
    }

    /// What becomes of the job when its handle is dropped: it is left to finish if each command is.
    pub fn on_drop(&self) -> OnDrop {
        let finish = self.steps.iter().all(|step| step.on_drop == OnDrop::Finish);
        if finish { OnDrop::Finish } else { OnDrop::End }
    }

    /// The job with one more command at its end.
    pub fn then(mut self, step: Command) -> Self {
        self.steps.push(step);
        self
    }
}

impl From<Command> for Job {
    fn from(command: Command) -> Self {
        Self { steps: vec![command] }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(ToString::to_string).collect();
        f.write_str(&steps.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_another_user_is_wrapped_only_where_it_is_another() {
        let mount = Command::new("mount").arg("-a").as_root();
        assert_eq!(mount.argv("root", Some(Become::Sudo)), ["mount", "-a"]);
        assert_eq!(mount.argv("op", Some(Become::Sudo)), ["sudo", "-n", "--", "mount", "-a"]);
        assert_eq!(mount.argv("op", None), ["mount", "-a"]);
        let make = Command::new("make").as_user("someone");
        assert_eq!(make.argv("someone", None), ["make"]);
        assert_eq!(make.argv("op", Some(Become::Doas)), ["doas", "-n", "-u", "someone", "--", "make"]);
    }

    #[test]
    fn a_command_that_runs_a_job_is_told_where_each_of_its_commands_begins() {
        let job = Job::pipe(vec![Command::new("a").arg("b c"), Command::new("mount").as_root()]);
        let outer = Command::new("wrap").arg("x").running(job);
        let argv = outer.argv("op", Some(Become::Sudo));
        assert_eq!(argv, ["wrap", "x", "2,4", "a", "b c", "sudo", "-n", "--", "mount"]);
        assert_eq!(split_job(&argv[2..]).unwrap(), [&argv[3..5], &argv[5..]]);
        assert_eq!(split_job(&argv[1..]), None);
        assert_eq!(outer.to_string(), "wrap x { a 'b c' | mount }");
    }

    #[test]
    fn a_titled_script_is_shown_by_its_title() {
        let command = Command::script("rm -rf -- \"$1\"").titled("remove").arg("a b");
        assert_eq!(command.to_string(), "remove 'a b'");
        assert_eq!(command.argv("root", None), ["sh", "-c", "rm -rf -- \"$1\"", "sh", "a b"]);
    }

    #[test]
    fn a_script_of_several_lines_is_not_shown() {
        let command = Command::script("set -e\nrm -- \"$1\"").arg("a");
        assert_eq!(command.to_string(), "a script a");
        assert_eq!(Command::script("cat -- \"$1\"").arg("a").to_string(), r#"sh -c 'cat -- "$1"' sh a"#);
    }

    #[test]
    fn quoting_survives_a_shell() {
        assert_eq!(shell_quote("tank/pg@a"), "tank/pg@a");
        assert_eq!(shell_quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_quote(""), "''");
    }
}
