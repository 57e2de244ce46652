//! How exit statuses come from the other machine: lines with a random name on standard error.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use reseed_core::host::mark;

/// Bytes of standard error that are kept.
const KEPT: usize = 16 * 1024;

/// What a job says, behind its nonce and a colon, before its first command.
pub(crate) const BEGUN: &str = "begun";

/// What every nonce begins with.
const PREFIX: &str = "reseed-";

/// A name that no program prints by chance: the mark of this process, and a number of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn new() -> Self {
        let number = RandomState::new().build_hasher().finish();
        Self(format!("{}{number:016x}", of_process(mark())))
    }
}

/// What the nonces of all jobs of the process with this mark begin with.
pub(crate) fn of_process(mark: &str) -> String {
    format!("{PREFIX}{mark}")
}

impl Nonce {
    /// What [`Display`](fmt::Display) shows; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(PREFIX)?;
        let is_hex = hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Marker {
    Begun,
    Status(usize, i32),
}

/// What came by standard error: statuses of the job's commands, and what they said.
#[derive(Debug)]
pub(crate) struct Said {
    prefix: Vec<u8>,
    line: Vec<u8>,
    kept: Vec<u8>,
    /// Whether the job has begun.
    pub(crate) begun: bool,
    /// One for each command, `None` until it came.
    pub(crate) statuses: Vec<Option<i32>>,
}

impl Said {
    /// Nothing was said yet by a job of so many commands.
    pub(crate) fn new(nonce: &Nonce, commands: usize) -> Self {
        let prefix = format!("{nonce}:").into_bytes();
        Self { prefix, line: vec![], kept: vec![], begun: false, statuses: vec![None; commands] }
    }

    /// Takes what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line();
            } else if self.line.len() > KEPT {
                // A marker may still be coming in the last bytes.
                let rest = self.line.split_off(self.line.len() - 128);
                let begun = std::mem::replace(&mut self.line, rest);
                self.keep(&begun);
            }
        }
    }

    /// Whether the status of every command came.
    pub(crate) fn complete(&self) -> bool {
        self.statuses.iter().all(Option::is_some)
    }

    /// The end of what the commands said.
    pub(crate) fn text(&self) -> String {
        let all = [&self.kept[..], &self.line[..]].concat();
        String::from_utf8_lossy(&all[all.len().saturating_sub(KEPT)..]).into_owned()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let found = line.windows(self.prefix.len()).position(|window| window == self.prefix);
        let marker = found.and_then(|at| Some((at, self.parse(&line[at + self.prefix.len()..])?)));
        // What a command said last need not end its line.
        self.keep(&line[..marker.as_ref().map_or(line.len(), |(at, _)| *at)]);
        match marker {
            Some((_, Marker::Begun)) => self.begun = true,
            Some((_, Marker::Status(command, status))) => self.statuses[command] = Some(status),
            None => {}
        }
    }

    /// `begun` or `<command>:<status>`, and the end of the line.
    fn parse(&self, rest: &[u8]) -> Option<Marker> {
        let text = std::str::from_utf8(rest).ok()?.trim_end();
        if text == BEGUN {
            return Some(Marker::Begun);
        }
        let (command, status) = text.split_once(':')?;
        let command = command.parse().ok().filter(|command| *command < self.statuses.len())?;
        Some(Marker::Status(command, status.parse().ok()?))
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(nonce: &Nonce, commands: usize, reads: &[&str]) -> Said {
        let mut said = Said::new(nonce, commands);
        reads.iter().for_each(|read| said.push(read.as_bytes()));
        said
    }

    #[test]
    fn a_nonce_tells_its_process_and_no_two_are_the_same() {
        let (one, other) = (Nonce::new(), Nonce::new());
        assert_ne!(one, other);
        for nonce in [one, other] {
            assert!(nonce.to_string().starts_with(&format!("reseed-{}", mark())), "{nonce}");
            assert_eq!(Nonce::parse(&nonce.to_string()), Some(nonce));
        }
    }

    #[test]
    fn markers_are_found_however_they_are_cut_and_are_not_shown() {
        let nonce = Nonce::new();
        let text = format!("first\nno end of line{nonce}:1:3\n{nonce}:0:141\nlast\n");
        for at in 0..text.len() {
            let said = said(&nonce, 2, &[&text[..at], &text[at..]]);
            assert_eq!(said.statuses, [Some(141), Some(3)]);
            assert_eq!(said.text(), "first\nno end of linelast\n");
        }
    }

    #[test]
    fn a_missing_marker_is_no_status() {
        let nonce = Nonce::new();
        assert!(!said(&nonce, 2, &[&format!("{nonce}:0:0\n")]).complete());
        assert!(!said(&nonce, 1, &[&format!("{nonce}:0:0")]).complete(), "half a line");
        assert!(!said(&nonce, 1, &["reseed-0:0:0\n"]).complete(), "another's");
        assert!(!said(&nonce, 1, &[&format!("{nonce}:7:0\n")]).complete(), "of no command");
    }

    #[test]
    fn only_the_end_is_kept_and_markers_survive_what_is_said_around_them() {
        let nonce = Nonce::new();
        let noise = "x".repeat(100_000);
        let said = said(&nonce, 1, &[&noise, &format!("{nonce}:0:5\n"), &noise, "\nthe end"]);
        assert_eq!(said.statuses, [Some(5)]);
        assert_eq!(said.text().len(), KEPT);
        assert!(said.text().ends_with("the end"));
    }
}
