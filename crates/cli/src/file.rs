//! Reads a pipeline file, or says what is wrong with it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use reseed_core::config::{self, Loaded};

use crate::args::FileArgs;
use crate::{exit, out, problems};

/// A pipeline file's text, and what fills its variables.
pub(crate) struct Text {
    /// The path as it was given.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) settings: BTreeMap<String, String>,
}

/// Reads and builds the pipeline. Everything that is wrong is told, on standard output too where
/// `json` is wanted.
///
/// # Errors
/// The exit code.
pub(crate) fn load(args: &FileArgs, json: bool) -> Result<Loaded, u8> {
    text(args, json)?.load(json)
}

/// Reads the file. Everything that is wrong is told, on standard output too where `json` is wanted.
///
/// # Errors
/// The exit code.
pub(crate) fn text(args: &FileArgs, json: bool) -> Result<Text, u8> {
    let name = args.file.display().to_string();
    let settings = args
        .settings()
        .map_err(|twice| wrong(&format!("`--set {twice}=…` is given twice"), "give each name one value", json))?;
    let text = read(&args.file).map_err(|error| {
        let hint = "name a pipeline file that this user can read; `reseed plan FILE` shows what one does";
        wrong(&format!("can't read {name}: {error}"), hint, json)
    })?;
    Ok(Text { name, text, settings })
}

impl Text {
    /// One that is in no file, and has no variables.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), settings: BTreeMap::new() }
    }

    /// Builds the pipeline. Everything that is wrong is told, on standard output too where `json` is wanted.
    ///
    /// # Errors
    /// The exit code.
    pub(crate) fn load(&self, json: bool) -> Result<Loaded, u8> {
        let Self { name, text, settings } = self;
        config::load(text, settings).map_err(|found| {
            if json {
                out::data(&format!("{}\n", problems::json(name, text, &found)));
            }
            let style = if out::has_terminal() { problems::Style::terminal() } else { problems::Style::Plain };
            out::talk(problems::render(name, text, &found, style).trim_end());
            exit::WRONG
        })
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

fn wrong(message: &str, hint: &str, json: bool) -> u8 {
    if json {
        out::data(&format!("{}\n", problems::json_of_call(message, hint)));
    }
    out::error(message, Some(hint));
    exit::WRONG
}
