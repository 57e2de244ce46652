//! Standard output is data, standard error is talk.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit;

/// Whether data was lost on its way out.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes data. What can't be written is told once, and then [`code`] says so too.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    judge(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Tells what writing data came to. A reader that has gone (`reseed stages | head`) is no error.
pub(crate) fn judge(written: std::io::Result<()>) {
    let Err(failed) = written else { return };
    if failed.kind() != ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) {
        let hint = "see whether there is room where standard output goes: `df -h`";
        error(&format!("can't write to standard output: {failed}"), Some(hint));
    }
}

/// The exit code of a command that came to this one, where data was what it was called for.
pub(crate) fn code(code: u8) -> u8 {
    if code == exit::DONE && LOST.load(Ordering::Relaxed) { exit::FAILED } else { code }
}

/// Writes one line of talk. There is nobody to tell if that fails.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes an error and what would help.
pub(crate) fn error(message: &str, hint: Option<&str>) {
    talk(&format!("error: {message}"));
    if let Some(hint) = hint {
        talk(&format!("  hint: {hint}"));
    }
}

/// Whether standard error is a terminal that can move its cursor.
pub(crate) fn has_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether colours are welcome (<https://no-color.org>).
pub(crate) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A stage that panics is an error of the run like another; this adds where, for a bug report.
pub(crate) fn tell_panics_in_one_line() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        talk(&format!("bug: {}{place}", panic.payload_as_str().unwrap_or("a panic without a message")));
    }));
}
