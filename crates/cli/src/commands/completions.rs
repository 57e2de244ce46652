//! `reseed completions`.

use crate::args::{CompletionsArgs, command_line};
use crate::{exit, out};

pub(crate) fn run(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "reseed", &mut script);
    out::data(&String::from_utf8_lossy(&script));
    exit::DONE
}
