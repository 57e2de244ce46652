//! The command itself, what it is told, and what it says.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::host::{Command, Host};
use crate::item::StreamHeader;
use crate::report::Said;
use crate::stage::{CheckCx, StageCx};
use crate::stages::hash;
use crate::undo::{Undo, by_name};
use crate::{Error, Result, register_undo};

/// Lines of standard error that go to the report.
const LINES: usize = 10;

/// A program with arguments, user and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    argv: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) environment: Vec<(String, String)>,
}

impl Program {
    /// `argv` is not empty.
    pub(super) fn new(argv: Vec<String>) -> Self {
        Self { argv, user: None, environment: vec![] }
    }

    /// Another command of the same user with the same environment.
    pub(super) fn with(&self, argv: Vec<String>) -> Self {
        Self { argv, ..self.clone() }
    }

    pub(super) fn name(&self) -> &str {
        self.argv.first().map(String::as_str).unwrap_or_default()
    }

    /// The command with more variables in its environment.
    pub(super) fn command(&self, more: &[(String, String)]) -> Command {
        let mut variables =
            self.environment.iter().chain(more).map(|(name, value)| format!("{name}={value}")).peekable();
        let command = match variables.peek() {
            Some(_) => Command::new("env").args(variables).args(self.argv.clone()),
            None => Command::new(self.name()).args(self.argv.iter().skip(1).cloned()),
        };
        match self.user.as_deref() {
            Some("root") => command.as_root(),
            Some(user) => command.as_user(user),
            None => command,
        }
    }

    /// The command, whose standard error goes to the report.
    pub(super) fn heard(&self, more: &[(String, String)], cx: &StageCx) -> Command {
        let cx = cx.clone();
        self.command(more).heard_by(move |said| {
            tell(&cx, said);
            Ok(())
        })
    }

    /// Refuses where the program is not there.
    pub(super) async fn check_on(&self, host: &dyn Host) -> Result<()> {
        is_there(self.name(), host).await
    }
}

/// Refuses where a program is not there.
pub(super) async fn is_there(program: &str, host: &dyn Host) -> Result<()> {
    match host.which(program).await? {
        Some(_) => Ok(()),
        None => {
            let error = Error::refused(format!("there is no program `{program}` on {}", host.name()));
            Err(error.hint(format!("install `{program}` on {}, or name it by its full path", host.name())))
        }
    }
}

/// What the environment says of a stream.
pub(super) fn about(header: &StreamHeader, cx: &CheckCx) -> Vec<(String, String)> {
    let part = &header.part;
    let mut about = vec![
        ("RESEED_RUN", cx.run_id()),
        ("RESEED_DATASET", &part.dataset),
        ("RESEED_SNAPSHOT", &part.snapshot),
        ("RESEED_TO_GUID", &part.guid),
    ];
    about.extend(header.from_guid.as_deref().map(|guid| ("RESEED_FROM_GUID", guid)));
    let between = header.between.join(" ");
    about.extend((!between.is_empty()).then_some(("RESEED_BETWEEN_GUIDS", &*between)));
    about.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn tell(cx: &StageCx, said: &str) {
    let text = last_lines(said);
    if text.is_empty() {
        return;
    }
    cx.note(format!("said: {}", text.replace('\n', " / ")));
    let (index, stage) = (cx.index, cx.name().to_owned());
    cx.report(|report| report.said.push(Said { index, stage, text }));
}

/// The last lines as a terminal would show them: a progress bar is one line, written over and over.
fn last_lines(said: &str) -> String {
    let shown = |line: &str| {
        let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
    };
    let lines: Vec<_> =
        said.lines().map(shown).filter(|line| !line.is_empty() && !line.starts_with(hash::MARK)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Runs the command that takes back what another one left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TakeBack {
    #[serde(with = "by_name")]
    host: Arc<dyn Host>,
    program: Program,
    run: String,
}

impl TakeBack {
    pub(super) fn new(program: &Program, host: &Arc<dyn Host>, cx: &CheckCx) -> Self {
        Self { host: Arc::clone(host), program: program.clone(), run: cx.run_id().to_owned() }
    }

    fn command(&self) -> Command {
        self.program.command(&[("RESEED_RUN".to_owned(), self.run.clone())])
    }
}

register_undo!("exec", TakeBack);

#[async_trait]
impl Undo for TakeBack {
    fn describe(&self) -> String {
        format!("run `{}` on {}", self.command(), self.host.name())
    }

    fn by_hand(&self) -> String {
        self.command().to_string()
    }

    async fn undo(&self) -> Result<()> {
        self.host.run(self.command()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_by_env_and_only_where_there_is_one() {
        let mut program = Program::new(vec!["pv".into(), "-q".into()]);
        assert_eq!(program.command(&[]).to_string(), "pv -q");
        program.environment.push(("A".into(), "b c".into()));
        let more = [("RESEED_RUN".to_owned(), "r".to_owned())];
        assert_eq!(program.command(&more).argv("root", None), ["env", "A=b c", "RESEED_RUN=r", "pv", "-q"]);
    }

    #[test]
    fn what_was_said_is_shown_as_a_terminal_would_show_it() {
        assert_eq!(last_lines("10%\r20%\r100%\n\nwarning:\u{1b} x\nreseed-hash-1 ab\n"), "100%\nwarning: x");
        let long: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(last_lines(&long).lines().count(), LINES);
    }
}
