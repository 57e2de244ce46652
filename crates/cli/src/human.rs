//! Sizes and times as people read them.

use std::time::Duration;

/// Columns of a line of text that is wrapped.
const WIDTH: usize = 96;
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// A number of bytes: `512 B`, `1.5 MiB`, `210 GiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    // From 999.5 on it would read as a number of four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A length of time in seconds: `0.36 s`, `12.1 s`, `3 min 20 s`, `1 h 05 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 0.995 => format!("{seconds:.2} s"),
        _ if seconds < 59.95 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A length of time that is only estimated, so without false precision: `about 40 s`.
pub fn about(left: Duration) -> String {
    let seconds = left.as_secs_f64().round() as u64;
    match seconds {
        0..10 => format!("about {} s", seconds.max(1)),
        10..90 => format!("about {} s", (seconds + 2) / 5 * 5),
        90..5400 => format!("about {} min", (seconds + 30) / 60),
        _ => format!("about {:.1} h", seconds as f64 / 3600.0),
    }
}

/// `1 problem`, `2 problems`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Wraps each paragraph for a terminal and indents it by so many columns.
pub fn indented(text: &str, by: usize) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let length = line.chars().count() + word.chars().count();
            if !line.is_empty() && length + 1 > WIDTH.saturating_sub(by) {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        lines.push(line);
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("{:by$}{line}", "").trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits_and_a_binary_unit() {
        let told = [0, 1023, 1024, 1536, 22_100_000, 104_857_600, 1_047_527_424, u64::MAX].map(bytes);
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "21.1 MiB", "100 MiB", "999 MiB", "16384 PiB"]);
        assert_eq!(bytes(1023 * 1024 * 1024), "1.0 GiB");
    }

    #[test]
    fn times_are_as_exact_as_they_are_useful() {
        let told = [0.0, 0.364, 0.996, 12.06, 59.96, 200.4, 3599.9, 3900.0].map(seconds);
        assert_eq!(
            told,
            ["0.00 s", "0.36 s", "1.0 s", "12.1 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "1 h 05 min"]
        );
    }

    #[test]
    fn text_is_wrapped_within_its_indentation() {
        let wrapped = indented(&format!("{} end\nsecond", "word ".repeat(18).trim_end()), 6);
        let lines: Vec<_> = wrapped.lines().collect();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= 96 && line.starts_with("      ")));
        assert_eq!((lines[1], lines[2]), ("      end", "      second"));
        assert_eq!(indented("", 4), "");
    }

    #[test]
    fn an_estimate_is_marked_and_rounded() {
        let told = [0, 7, 43, 200, 7000].map(|s| about(Duration::from_secs(s)));
        assert_eq!(told, ["about 1 s", "about 7 s", "about 45 s", "about 3 min", "about 1.9 h"]);
    }
}
