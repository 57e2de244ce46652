//! How the streams of a copy were made: the same for all of a chain.

use std::fmt;

/// How a copy was begun. Its increments keep to this, wherever they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// The flags of `zfs send`, between blanks; `-` for none.
    pub(crate) flags: String,
    /// The record size of the source in bytes, where that is known.
    pub(crate) recordsize: Option<String>,
    /// Identity of the key of what comes raw, where that is known.
    pub(crate) key: Option<String>,
}

/// Between what is told.
const BETWEEN: &str = "; ";
const RECORDSIZE: &str = "recordsize ";
const KEY: &str = "key ";

impl Made {
    /// Reads what was written by [`Display`](fmt::Display). What is not known is left out.
    pub(crate) fn read(text: &str) -> Self {
        let mut parts = text.split(BETWEEN);
        let mut made = Self { flags: parts.next().unwrap_or_default().to_owned(), ..Self::default() };
        for part in parts {
            let value = |name| part.strip_prefix(name).map(str::to_owned);
            made.recordsize = made.recordsize.or(value(RECORDSIZE));
            made.key = made.key.or(value(KEY));
        }
        made
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flags)?;
        let told = [(RECORDSIZE, &self.recordsize), (KEY, &self.key)];
        let mut known = told.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        known.try_for_each(|(name, value)| write!(f, "{BETWEEN}{name}{value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_again() {
        let all = Made { flags: "-L -w".into(), recordsize: Some("131072".into()), key: Some("ab".into()) };
        assert_eq!(all.to_string(), "-L -w; recordsize 131072; key ab");
        let none = Made { flags: "-".into(), ..Made::default() };
        for made in [all.clone(), Made { key: None, ..all }, none] {
            assert_eq!(Made::read(&made.to_string()), made);
        }
        // What a later version may tell is no flag.
        assert_eq!(Made::read("-L; colour red").flags, "-L");
    }
}
