//! The reference of the commands as Markdown.

use clap::Command;

/// What each command's `--help` says; `docs/reference/commands.md` holds it.
pub fn commands_markdown(mut program: Command) -> String {
    program.build();
    let mut text =
        "<!-- Written by `make docs` from the command line itself; do not edit. -->\n\n# Commands\n".to_owned();
    section(&mut text, &mut program);
    text
}

/// A command, and those below it.
fn section(text: &mut String, command: &mut Command) {
    let title = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    // A width of its own: the reference must not depend on the terminal of who generates it.
    *command = std::mem::take(command).term_width(100);
    let help = command.render_long_help().to_string();
    let lines: Vec<_> = help.trim().lines().map(str::trim_end).collect();
    text.push_str(&format!("\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n")));
    for below in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        section(text, below);
    }
}
