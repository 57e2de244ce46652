//! What can be typed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    done, and proven
  1    failed; everything was taken back
  2    the call or the pipeline file is wrong; nothing was touched
  3    refused by a check; nothing was touched
  4    failed, and something could not be taken back: the commands to type are printed
  130  cancelled; everything was taken back";

/// Brings a PostgreSQL standby up to date from a file-system snapshot of its primary.
#[derive(Debug, Parser)]
#[command(name = "reseed", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline: check everything, do it, prove it; on failure take everything back.
    ///
    /// Ctrl-C, SIGTERM and SIGHUP cancel the run and take everything back. A second one stops that
    /// too and prints what is left as commands.
    Run(RunArgs),
    /// Show what a pipeline would do, stage by stage. Changes nothing.
    Plan(PlanArgs),
    /// Check whether a pipeline could run now. Changes nothing; exits with 3 if a check refuses.
    Check(RunArgs),
    /// Take runs that died to their end: back where they had not committed, else their chores are done.
    ///
    /// A run dies when its process is killed or its machine goes down. What it did is in its journal, in
    /// the state directory: $RESEED_STATE_DIR, else /var/lib/reseed/state for root and ~/.local/state/reseed
    /// for others. `reseed run` does the same by itself before it begins. Exits with 0 if nothing is left,
    /// and with 4 if something could not be taken back: the commands to type are printed.
    Recover(RecoverArgs),
    /// Show the runs of this user: stages, ends, times, bytes, and what is left behind where.
    ///
    /// Exits with 4 if something is left of a run that died or is stuck.
    Status(StatusArgs),
    /// Show it: a throw-away primary under load and a standby, seeded and reset before your eyes.
    ///
    /// Everything is real (ZFS or btrfs, SSH on loopback, PostgreSQL), lies in files of its own and is removed
    /// at the end, also after Ctrl-C. Needs root, but for the backend `basebackup`.
    Demo(crate::demo::DemoArgs),
    /// Look into a staged repository: what it holds, whether it can be restored, what is not kept any more.
    Staged(crate::staged::StagedArgs),
    /// Look into a send stream: what it sends, whether it is sound and whether it is whole.
    Stream(crate::stream::StreamArgs),
    /// Forget a target that is gone for good: let go of what is kept for its next increment.
    ///
    /// On the machines that the pipeline's stages send from, snapshots, holds and bookmarks that were kept for it
    /// go. The target itself is not asked. A target that is still there gets the whole again the next time.
    Forget(ForgetArgs),
    /// List the stages that a pipeline can be made of, or explain one of them.
    Stages(StagesArgs),
    /// Print the JSON Schema of pipeline files, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands into a directory.
    Man(ManArgs),
    /// Bind a key to what a pipeline needs: the forced command of a key on the machine that sends.
    ///
    /// In `authorized_keys`, as `restrict,command="exec reseed guard --allow …" ssh-ed25519 …`. sshd then starts
    /// this in the place of whatever the client asks for. It runs the commands that reseed makes and that the
    /// grants allow, refuses all else with exit status 126, and tells the system's log (authpriv) either way.
    ///
    /// `reseed guard --print FILE` shows the very line for each machine that a pipeline sends from; it surveys the
    /// pipeline as `reseed plan` does, and changes nothing.
    Guard(GuardArgs),
    /// The far side of a framed transfer; reseed on another machine calls this over SSH.
    ///
    /// `send` runs a job and frames its output with lengths and a SHA-256, `receive` gives a framed
    /// stream to a job, `version` says which protocol is spoken. Not meant to be typed.
    #[command(hide = true)]
    Wire(WireArgs),
}

/// A pipeline file and what fills its variables.
#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// The pipeline file; `-` reads it from standard input.
    pub file: PathBuf,
    /// Fill `${NAME}` in the file with VALUE. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// How much is said, and how.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct TalkArgs {
    /// Print JSON on standard output; what is meant for people goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// Say only what is wrong.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: the time in front of each line, and the end of every stage.
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `run` and `check`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// How much is said.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {
    /// Only these runs, by their ids; by default every one that died.
    pub runs: Vec<String>,
    /// Believe that what is left of this run has been seen to by hand, and undo nothing of it.
    #[arg(long, value_name = "RUN", conflicts_with = "runs")]
    pub forget: Option<String>,
    /// Without journals: look on the machines of this pipeline file, and take back what belongs to no live run
    /// and is kept by nothing. `reseed status --scan FILE` shows it first.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "forget"])]
    pub scan: Option<PathBuf>,
    /// With --scan: say that this run is dead, and take back what is found of it. May be given several times.
    #[arg(long = "run", value_name = "RUN", requires = "scan")]
    pub named: Vec<String>,
    /// Fill `${NAME}` in the file with VALUE. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting, requires = "scan")]
    pub set: Vec<(String, String)>,
    /// How much is said.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Only this run, with its stages.
    pub run: Option<String>,
    /// Without journals: look on the machines of this pipeline file for whatever carries the id of a run. Changes
    /// nothing. Exits with 4 if something is left of a dead run.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub scan: Option<PathBuf>,
    /// Fill `${NAME}` in the file with VALUE. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting, requires = "scan")]
    pub set: Vec<(String, String)>,
    /// Print a line of JSON for each run; with --scan, for each thing.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
    /// Connect to no machine: show only what the file itself says.
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `forget`.
#[derive(Debug, clap::Args)]
pub struct ForgetArgs {
    /// The target's name, as the property `reseed:target` of its snapshots has it; an unknown name lists
    /// those that there are.
    pub target: String,
    /// The file.
    #[command(flatten)]
    pub file: FileArgs,
}

/// Arguments of `stages`.
#[derive(Debug, clap::Args)]
pub struct StagesArgs {
    /// Explain this stage, or this resource such as `hosts` or `hosts.ssh`.
    pub name: Option<String>,
    /// Print name, description and JSON Schema of everything as JSON.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the whole reference as Markdown.
    #[arg(long, conflicts_with = "name")]
    pub markdown: bool,
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print the reference of all commands as Markdown.
    #[arg(long, conflicts_with = "dir")]
    pub markdown: bool,
}

/// Arguments of `guard`.
#[derive(Debug, clap::Args)]
pub struct GuardArgs {
    /// Allow what the stage RULE needs about OBJECT: a dataset, or a directory. May be given several times.
    #[arg(long, value_name = "RULE[=OBJECT]", conflicts_with = "print")]
    pub allow: Vec<String>,
    /// Add each decision to this file too; it is made with mode 0600.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Print the line for `authorized_keys` that this pipeline file needs.
    #[arg(long, value_name = "FILE")]
    pub print: Option<PathBuf>,
    /// Fill `${NAME}` in the file with VALUE. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting, requires = "print")]
    pub set: Vec<(String, String)>,
    /// The public key's file, for the end of the line.
    #[arg(long, value_name = "FILE", requires = "print")]
    pub key: Option<PathBuf>,
    /// Where reseed is on the machine that the line is for.
    #[arg(long, value_name = "PATH", default_value = "/usr/local/bin/reseed", requires = "print")]
    pub program: String,
}

/// Arguments of `wire`, in a language of its own.
#[derive(Debug, clap::Args)]
pub struct WireArgs {
    /// `version`, `send …` or `receive …`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

impl FileArgs {
    /// The settings by name.
    ///
    /// # Errors
    /// The name that is set twice.
    pub fn settings(&self) -> Result<BTreeMap<String, String>, String> {
        let mut settings = BTreeMap::new();
        for (name, value) in &self.set {
            if settings.insert(name.clone(), value.clone()).is_some() {
                return Err(name.clone());
            }
        }
        Ok(settings)
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is written `name=value`".to_owned()),
    }
}

/// The command line as data, for completions and manual pages.
pub fn command_line() -> clap::Command {
    Args::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn the_words_of_a_wire_arrive_as_they_are() {
        let call = ["reseed", "wire", "send", "--encode", "zstd:3", "--", "2", "tar", "--", "-c"];
        match Args::try_parse_from(call).unwrap().command {
            Command::Wire(args) => assert_eq!(args.words, call[2..]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_may_hold_equals_signs_but_not_come_twice() {
        let args = |sets: &[&str]| FileArgs {
            file: PathBuf::new(),
            set: sets.iter().map(|set| setting(set).unwrap()).collect(),
        };
        let settings = args(&["dsn=host=a user=b"]).settings().unwrap();
        assert_eq!(settings["dsn"], "host=a user=b");
        assert_eq!(args(&["a=1", "a=2"]).settings().unwrap_err(), "a");
        assert!(setting("a").is_err() && setting("=a").is_err());
    }
}
