//! `reseed man`.

use std::path::Path;

use crate::args::{ManArgs, command_line};
use crate::{exit, out, reference};

pub(crate) fn run(args: &ManArgs) -> u8 {
    match &args.dir {
        Some(dir) => write_all(dir),
        None if args.markdown => {
            out::data(&reference::commands_markdown(command_line()));
            exit::DONE
        }
        None => print(),
    }
}

fn print() -> u8 {
    let mut page = Vec::new();
    // Writing into memory does not fail.
    let _ = clap_mangen::Man::new(command_line()).render(&mut page);
    out::data(&String::from_utf8_lossy(&page));
    exit::DONE
}

fn write_all(dir: &Path) -> u8 {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command_line(), dir));
    match written {
        Ok(()) => exit::DONE,
        Err(error) => {
            let message = format!("can't write manual pages into {}: {error}", dir.display());
            out::error(&message, Some("name a directory that this user can write to: `reseed man --dir DIR`"));
            exit::WRONG
        }
    }
}
