//! Names that come from elsewhere: another machine, a repository. They are judged here before they
//! reach a command or a path; what only one storage knows (how a dataset may be called) it judges itself.

/// The longest name or path that is taken, in bytes: `PATH_MAX` of Linux.
pub const LONGEST: usize = 4096;

/// Why a text is no name, in words that go on after "`…`:". Blanks and any letters are fine: programs get
/// names as arguments of their own, and paths as parts of absolute ones.
pub fn wrong(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        name if name.len() > LONGEST => Some("it is longer than 4096 bytes"),
        name if name.contains(char::is_control) => Some("there is a control character in it"),
        name if name.starts_with('-') => Some("it begins with `-`"),
        name if name.split('/').any(|part| matches!(part, "." | "..")) => Some("there is a `.` or `..` in it"),
        _ => None,
    }
}

/// Why a text is no name of one thing, without anything above it.
pub fn wrong_part(name: &str) -> Option<&'static str> {
    if name.contains('/') { Some("there is a `/` in it") } else { wrong(name) }
}

/// Why a text is no absolute path that goes nowhere but down.
pub fn wrong_path(path: &str) -> Option<&'static str> {
    match path.strip_prefix('/') {
        None => Some("it does not begin with `/`"),
        Some(rest) if !rest.is_empty() && rest.split('/').any(str::is_empty) => Some("a part of it is empty"),
        Some(_) => wrong(path),
    }
}

/// A name as it may be shown: in one line, and not endless.
pub fn shown(name: &str) -> String {
    in_one_line(name, 120)
}

/// A text with what would end a line or move a cursor made visible, cut after so many letters.
pub fn in_one_line(text: &str, longest: usize) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { vec![c] };
    let line: String = text.chars().take(longest).flat_map(escaped).collect();
    if text.chars().nth(longest).is_some() { line + "…" } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nobody who means well calls a thing.
    const HOSTILE: &[&str] =
        &["", "-rf", "a/../b", "..", ".", "a/./b", "a\nb", "a\0b", "a\rb", "\u{1b}[2J", "\u{7f}", "\u{85}"];

    #[test]
    fn hostile_names_are_refused_and_odd_ones_are_not() {
        for name in HOSTILE {
            assert!(wrong(name).is_some(), "{name:?}");
            assert!(wrong_part(name).is_some(), "{name:?}");
            assert!(wrong_path(name).is_some(), "{name:?}");
            assert!(wrong_path(&format!("/{name}/x")).is_some() || *name == "-rf", "{name:?}");
        }
        assert!(wrong(&"x".repeat(LONGEST + 1)).is_some());
        for name in ["tank/pg sql", "a...b", "ünïcode", "$(id)", "a;b", "it's"] {
            assert_eq!(wrong(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_part_has_nothing_above_it_and_a_path_everything() {
        assert!(wrong_part("a/b").is_some());
        assert_eq!(wrong_part("a b"), None);
        assert_eq!((wrong_path("/"), wrong_path("/srv/a b")), (None, None));
        for path in ["srv", "/srv/", "//srv", "/a//b"] {
            assert!(wrong_path(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_is_shown_is_one_line() {
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert!(shown(&"x".repeat(1000)).chars().count() < 130);
    }
}
